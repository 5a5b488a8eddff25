"""Sessions with real daemons, exported, and run in the reference runtime against the same daemons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from cfcat.record.events import MARKS
from cfcat.record.transcript import parse_entry
from tests.helpers.certs import CertSet
from tests.helpers.program import cfcat
from tests.helpers.workerd import serving
from tests.servers import conftest as servers
from tests.servers.dialogs import DIALOGS
from tests.servers.fleet import Fleet, Name

# What differs from one connection to the next: the time of day, identifiers, key material.
CHANGING = re.compile(
    rb"\d\d:\d\d:\d\d|"
    rb"\w{6}-[\w]+-\w{2,4}\b|"  # exim's message identifiers
    rb"(?<=server_pid)\S+|(?<=K\x00\x00\x00\x0c).{8}",  # postgres: BackendKeyData
    re.DOTALL,
)


class Talk(NamedTuple):
    """The lines of a session, and the options that it needs."""

    script: str
    options: tuple[str, ...] = ()
    direct: bool = False  # at the port with TLS from the first byte
    secrets: Mapping[str, str] = {}


TALKS: dict[Name, Talk] = {
    "gopher": Talk("\n:expect ^\\.\\r\\n\n"),
    "smtp": Talk(
        ":reply 220\nEHLO me\n:reply 250\nSTARTTLS\n:reply 220\n:starttls\n"
        "EHLO me\n:reply (?s)250.*^250 HELP\nNOOP\n:reply 250 OK\nRSET\n:wait 0.2\nQUIT\n:expect ^221 .*\\r\\n\n",
        ("--tls", "starttls"),
    ),
    "imap": Talk(
        ":expect (?i)^\\* ok\na STARTTLS\n:expect ^a OK\n:wait 0.2\n:starttls\n"
        "b CAPABILITY\n:expect ^b OK\nd LOGOUT\n:expect ^d OK.*\\r\\n\n",
        ("--tls", "starttls"),
    ),
    "redis": Talk(
        "AUTH nobody hunter2\n:expect ^-.*\\r\\n\nPING\n:expect ^\\+PONG\n"
        ":send *2\\r\\n$4\\r\\nECHO\\r\\n$3\\r\\n\\x00\\xff\\x01\\r\\n\n:wait 0.2\nQUIT\n"
        ":expect ^\\+OK\\r\\n\n",
        ("--tls", "on", "--ignore-unexpected-eof"),
        direct=True,
        secrets={"SECRET_1": "hunter2"},
    ),
    "postgres": Talk(
        f":starttls postgres\n:hex {DIALOGS['postgres'].ask.hex()}\n:expect Z\\x00\\x00\\x00\\x05I\n:hex 58 00000004\n",
        ("--tls", "starttls"),
    ),
}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """What is done about dovecot with the other tests of daemons."""
    return servers.pytest_runtest_protocol(item, nextitem)


def received(transcript: Path) -> bytes:
    entries = map(parse_entry, transcript.read_text().splitlines())
    return b"".join(entry.data for entry in entries if entry.direction == MARKS["received"])


@pytest.mark.parametrize("name", TALKS)
def test_a_worker_reads_what_the_session_read(daemon: Fleet, certs: CertSet, tmp_path: Path, name: Name) -> None:
    """The same daemon says the same to it, through upgrades and under TLS."""
    talk = TALKS[name]
    running = daemon(name)
    target = f"localhost:{running.tls_port if talk.direct else running.port}"
    made, log = tmp_path / "worker.mjs", tmp_path / "log"
    options = ["--repl", *talk.options, *(["--cacert", str(certs.ca)] if talk.options else [])]
    result = cfcat(*options, "--export", str(made), "--log", str(log), target, stdin=talk.script.encode())
    assert result.status == 0, result
    module = made.read_text()
    with serving(module, certs, talk.secrets) as worker:
        status, body = worker.fetch()
    assert status == 200, (body, module)
    assert CHANGING.sub(b"#", body) == CHANGING.sub(b"#", received(log))
    assert not any(secret in module for secret in talk.secrets.values())
    later = tmp_path / "later.mjs"
    assert cfcat("--export", str(later), "--from", str(log)).status == 0
    assert later.read_text() == module
