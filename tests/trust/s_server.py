"""`openssl s_server`, and authorities made by `openssl` as its manual and a hundred tutorials have it.

    with s_server(private.leaf, "-tls1_2") as server:
        cfcat("--tls", "on", "--cacert", private.authority, server.target)

It says HELLO to each client, and ends in order when the client does.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.installed import demand

__all__ = [
    "DEADLINE_S",
    "HELLO",
    "Leaf",
    "Server",
    "make_authority",
    "make_leaf",
    "make_self_signed",
    "openssl",
    "s_server",
]

HELLO = b"hello\n"
NAMES = "subjectAltName=DNS:localhost,DNS:*.a.test,IP:127.0.0.1,IP:::1,IP:fe80::1"
DEADLINE_S = 20


@dataclass(frozen=True)
class Leaf:
    """A server's certificate and its key."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Server:
    """Where it listens, and the process: what is written to its stdin goes to the client, `R` alone renegotiates."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


def openssl(*arguments: str | Path, cwd: Path) -> str:
    """Run the program in a folder; returns what it printed. Raises CalledProcessError."""
    command = [demand("openssl"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stdout


def make_authority(folder: Path, *options: str, version_1: bool = False) -> Path:
    """`openssl req -x509` with its defaults; version 1: `openssl x509 -req`, which adds no extensions."""
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-subj", "/CN=Private CA", *options)
    if version_1:
        openssl(*new, "-out", "ca.csr", cwd=folder)
        openssl("x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-out", "ca.pem", cwd=folder)
    else:
        openssl(*new, "-x509", "-out", "ca.pem", cwd=folder)
    return folder / "ca.pem"


def make_leaf(folder: Path, *more: str, kind: str = "rsa:2048") -> Leaf:
    """`openssl x509 -req`, signed by the authority of this folder. `more`: lines for its extensions."""
    openssl("req", "-newkey", kind, "-nodes", "-keyout", "leaf.key", "-subj", "/CN=me", "-out", "leaf.csr", cwd=folder)
    (folder / "leaf.ext").write_text("\n".join([NAMES, *more, ""]))
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "leaf.ext")
    openssl("x509", "-req", "-in", "leaf.csr", *signing, "-out", "leaf.pem", cwd=folder)
    return Leaf(folder / "leaf.pem", folder / "leaf.key")


def make_self_signed(folder: Path, *, version_1: bool) -> Leaf:
    """A server's certificate that nobody vouches for. Version 1 has no extensions, so no name that counts."""
    make_authority(folder, *(() if version_1 else ("-addext", NAMES)), version_1=version_1)
    return Leaf(folder / "ca.pem", folder / "ca.key")


@contextmanager
def s_server(leaf: Leaf, *options: str) -> Iterator[Server]:
    """A server on a free port of loopback, killed at the end."""
    command: Sequence[str | Path] = [
        *(demand("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", leaf.cert, "-key", leaf.key),
        *options,
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                if match := re.match(rb"ACCEPT .*:(\d+)", line):
                    break
            else:
                raise AssertionError("openssl s_server did not start")
            process.stdin.write(HELLO)
            process.stdin.flush()
            yield Server(int(match[1]), process)
        finally:
            process.kill()
