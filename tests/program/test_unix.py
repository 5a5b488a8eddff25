"""`cfcat unix:/path`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.core.test_unix import echoing
from tests.helpers.certs import CertSet
from tests.helpers.program import Argument, Result, cfcat, finish, start
from tests.program.command import Command


def test_a_pipe(tmp_path: Path) -> None:
    """As over TCP; -v and --json have its path."""
    with echoing(str(tmp_path / "x")):
        result = cfcat("-v", f"unix:{tmp_path}/x", stdin=b"ping")
    assert (result.stdout, result.status) == (b"ping", 0)
    assert result.stderr.startswith(f"cfcat: connected to unix:{tmp_path}/x in ")
    with echoing(str(tmp_path / "y")):
        result = cfcat("--json", f"unix:{tmp_path}/y", stdin=b"ping")
    report = json.loads(result.stderr)
    assert (report["remote_address"], report["local_address"]) == (f"unix:{tmp_path}/y", None)


def test_with_itself_under_tls(tmp_path: Path, certs: CertSet) -> None:
    """STARTTLS on a Unix socket, both halves ours."""
    address = f"unix:{tmp_path}/x"
    server: list[Argument] = ["--cert", certs["good"].chain, "--key", certs["good"].key, "--starttls", "smtp"]
    client: list[Argument] = ["--cacert", certs.ca, "--sni", "localhost", "--starttls", "smtp"]
    with start("-v", "-l", address, *server) as listener:
        listener.read_stderr_until("listening on ")
        listener.end_input()
        result = cfcat(*client, address, stdin=b"ping\n")
        assert listener.read_until(b"\n") == b"ping\n"
        assert finish(listener).status == 0
    assert result == Result(b"", "", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="names without a file are Linux's")
def test_a_name_without_a_file(tmp_path: Path) -> None:
    """From both ends, and as each of them shows it."""
    address = f"unix:@cfcat-{os.getpid()}"
    with start("-v", "-l", address, "--events", tmp_path / "events", "--pcap", tmp_path / "pcap") as listener:
        listener.read_stderr_until(f"listening on {address}\n")
        listener.end_input()
        result = cfcat("-v", address, stdin=b"ping\n")
        assert finish(listener).stdout == b"ping\n"
    assert result.stderr.startswith(f"cfcat: connected to {address} in ")
    connected = next(
        event
        for line in (tmp_path / "events").read_text().splitlines()
        if (event := json.loads(line))["event"] == "connected"
    )
    assert connected["local_address"] == address
    assert f"a Unix socket: {address[5:]}; ".encode() in (tmp_path / "pcap").read_bytes()


def test_a_session(tmp_path: Path) -> None:
    """A secret stays on this machine, and :info has the path."""
    with echoing(str(tmp_path / "x")):
        result = cfcat("--repl", "--proto", "pop3", f"unix:{tmp_path}/x", stdin=b"PASS x\n:info\n")
    assert f"remote: unix:{tmp_path}/x\n" in result.stderr
    assert (result.stdout, result.status) == (b"PASS x\r\n", 0)


def test_open_in_a_session(tmp_path: Path) -> None:
    """Also where the first one is another."""
    with echoing(str(tmp_path / "x")), echoing(str(tmp_path / "y")):
        lines = f"one\n:open unix:{tmp_path}/y\ntwo\n".encode()
        result = cfcat("--repl", f"unix:{tmp_path}/x", stdin=lines)
    assert (result.stdout, result.status) == (b"two\r\n", 0)


def test_nothing_is_there(tmp_path: Path) -> None:
    """7, in the system's words."""
    text = f"cfcat: unix:{tmp_path}/x: no such file or directory\n"
    assert cfcat(f"unix:{tmp_path}/x") == Result(b"", text, 7)


@pytest.mark.parametrize(
    ("options", "text", "hint"),
    [
        (["-4"], "unix:/x is a Unix socket: -4 has no meaning there", ""),
        (["-6"], "unix:/x is a Unix socket: -6 has no meaning there", ""),
        (["--proxy", "env"], "unix:/x is a Unix socket: --proxy has no meaning there", ""),
        (["--source", "::1"], "unix:/x is a Unix socket: --source has no meaning there", ""),
        (["--resolve", "a:1:::1"], "unix:/x is a Unix socket: --resolve has no meaning there", ""),
        (["--workers"], "unix:/x is a Unix socket: --workers has no meaning there", ""),
        (["--check-workers"], "unix:/x is a Unix socket: --check-workers has no meaning there", ""),
        (["--export", "x.js"], "unix:/x is a Unix socket: --export has no meaning there", ""),
        (["--tls", "on"], "unix:/x is a Unix socket: TLS needs the name of the server there", "--sni NAME"),
        (["--starttls", "smtp"], "unix:/x is a Unix socket: TLS needs the name of the server there", "--sni NAME"),
    ],
)
def test_usage(options: list[str], text: str, hint: str, command: Command) -> None:
    """Before anything is connected to."""
    command.check_refused([*options, "unix:/x"], text, hint)


@pytest.mark.parametrize(
    ("target", "hint"), [("unix:x", "cfcat unix:./x"), ("unix:", ""), ("unix:@", ""), ("unix:/a\x1b", "")]
)
def test_what_is_no_path(target: str, hint: str, command: Command) -> None:
    """A relative one begins with a dot."""
    status, stderr = command.run([target])
    assert "the path of a Unix socket begins with / or ./, its name without a file with @" in stderr
    assert (f"  hint: {hint}\n" in stderr) == bool(hint)
    assert status == 2
