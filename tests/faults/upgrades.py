"""Runs of `--starttls PROTO` against a peer that does not play along, with a secret ready on standard input."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from cfcat.protocols import PROTOCOLS
from tests.helpers.peers import Script, serve
from tests.helpers.program import Result, cfcat
from tests.report.form import check_form

__all__ = ["EACH", "SHORT_S", "Run", "check_failed", "run"]

EACH = pytest.mark.parametrize("protocol", PROTOCOLS)
# With the start of Python, on a busy machine; the deadline is ten times as long.
AT_ONCE_S = 3.0
SHORT_S = 0.5
WARNING = "cfcat: warning: the certificate is not checked (-k): anyone can be at the other end\n"


class Run(NamedTuple):
    """A run with 1 MiB ready on its standard input: `offset` is how much of that it has read."""

    result: Result
    target: str
    received: bytes  # by the peer
    sent: int  # by the peer
    offset: int
    took_s: float


def run(protocol: str, script: Script, ready: Path, *options: str) -> Run:
    """Run cfcat against `script` with a megabyte ready on its standard input."""
    with serve(script) as server, ready.open("rb") as file:
        began = time.monotonic()
        result = cfcat("--starttls", protocol, "-k", *options, server.address, stdin=file)
        took_s = time.monotonic() - began
        offset = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    assert server.connections == 1  # no second try, in clear text or otherwise
    stderr = result.stderr.removeprefix(WARNING)
    assert stderr != result.stderr
    result = Result(result.stdout, stderr, result.status)
    return Run(result, server.address, server.received, server.peers[0].sent, offset, took_s)


def check_failed(run: Run, status: int, *, received: bytes | None = None) -> str:
    """Nothing was printed, nothing of stdin read or sent, in no time; return the message after the target."""
    text, _ = check_form(run.result.stderr)
    assert (run.result.stdout, run.result.status, run.offset) == (b"", status, 0), run.result
    assert received is None or run.received == received
    assert b"secret" not in run.received
    assert run.took_s < AT_ONCE_S
    assert text.startswith(f"{run.target}: ")
    return text.removeprefix(f"{run.target}: ")
