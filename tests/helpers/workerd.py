"""The reference runtime, `workerd`, with one Worker that may reach loopback and trusts the tests' CA.

    with serving(module, certs) as worker:
        status, body = worker.fetch()

Where it is not installed the test is skipped, or failed with CFCAT_REQUIRE_SERVERS=1: `.ci/run` puts the npm package
into `.cache`.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.certs import CertSet
from tests.helpers.installed import do_without

__all__ = ["Worker", "serving"]

FETCH_S = 30.0
PROJECT = Path(__file__).parents[2]
INSTALLED = ".cache/workerd-*/node_modules/@cloudflare/workerd-*/bin/workerd"
COMPATIBILITY_DATE = "2026-11-01"


@dataclass(frozen=True)
class Worker:
    """A Worker that waits for requests at a port of loopback."""

    port: int

    def fetch(self) -> tuple[int, bytes]:
        """One request: the status and the body of the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=FETCH_S)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def serving(module: str, ca: Path | CertSet, bindings: Mapping[str, str] | None = None) -> Iterator[Worker]:
    """Run a module that trusts this authority, for the length of the block; `bindings` are texts by name."""
    program = _find()
    with tempfile.TemporaryDirectory(prefix="cfcat-workerd-") as name:
        folder = Path(name)
        (folder / "worker.mjs").write_text(module)
        (folder / "ca.pem").write_bytes((ca if isinstance(ca, Path) else ca.ca).read_bytes())
        (folder / "config.capnp").write_text(_config(bindings or {}))
        read_end, write_end = os.pipe()
        command = [program, "serve", "config.capnp", f"--control-fd={write_end}"]
        log = (folder / "log").open("wb")
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write_end]
        )
        os.close(write_end)
        try:
            with open(read_end, "rb") as events:
                yield Worker(_port(events.readline(), folder / "log"))
        finally:
            process.terminate()
            process.wait(10)
            log.close()


def _find() -> str:
    """The program itself: the package's own script would start it as a child."""
    found = sorted(PROJECT.glob(INSTALLED))
    return str(found[-1]) if found else shutil.which("workerd") or do_without("workerd")


def _port(event: bytes, log: Path) -> int:
    assert event, f"workerd does not serve: {log.read_text(errors='replace')}"
    port = json.loads(event)["port"]
    assert isinstance(port, int)
    return port


def _config(bindings: Mapping[str, str]) -> str:
    texts = ", ".join(f"(name = {json.dumps(name)}, text = {json.dumps(value)})" for name, value in bindings.items())
    return f"""\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
      compatibilityDate = "{COMPATIBILITY_DATE}",
      bindings = [{texts}],
    )),
    (name = "internet", network = (
      allow = ["public", "private", "local"],
      tlsOptions = (trustedCertificates = [embed "ca.pem"]),
    )),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
"""
