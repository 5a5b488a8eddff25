"""Much data through cfcat: a fast peer in a process of its own, and the two edges, all of one pattern."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.program import Program
from tests.pipe import machine
from tests.pipe.machine import PERIOD
from tests.pipe.tools import DEADLINE_S, Transport

__all__ = ["MIB", "FastPeer", "check_stdout", "cpu_s", "fast_peer", "peak_bytes", "pushing", "resident_bytes"]

MIB = 1 << 20
PIECES = PERIOD * (MIB // len(PERIOD) + 2)


@dataclass(frozen=True)
class FastPeer:
    """A running `machine.py`, and how cfcat reaches it."""

    process: subprocess.Popen[bytes]
    arguments: list[str]

    def end(self) -> None:
        """Let it end the connection."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@contextmanager
def fast_peer(role: str, count: int, transport: Transport) -> Iterator[FastPeer]:
    """Run `machine.py` for this kind of connection; it must end without complaint."""
    certificate = "" if transport.version is None else str(transport.certs["good"].pem)
    command = [sys.executable, machine.__file__, role, certificate, str(count), transport.name]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = f"127.0.0.1:{int(process.stdout.readline())}"
        try:
            yield FastPeer(process, [*transport.options, address])
        except BaseException:
            process.kill()
            raise
        assert (process.stderr.read(), process.wait(DEADLINE_S)) == (b"", 0)


def pushing(program: Program, count: int, *, end: bool) -> threading.Thread:
    """Write the pattern to stdin in a thread, so that the test can read meanwhile."""

    def work() -> None:
        assert program.stdin is not None
        done = 0
        while done < count:
            offset = done % len(PERIOD)
            done += os.write(program.stdin.fileno(), PIECES[offset : offset + min(count - done, MIB)])
        if end:
            program.end_input()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def check_stdout(program: Program, count: int) -> None:
    """Read `count` bytes of stdout and compare each with the pattern."""
    assert program.stdout is not None
    done = 0
    while done < count:
        chunk = os.read(program.stdout.fileno(), min(MIB, count - done))
        assert chunk, f"ended after {done} of {count} bytes"
        offset = done % len(PERIOD)
        same = chunk == PIECES[offset : offset + len(chunk)]  # not in the assertion: pytest would explain a MiB
        assert same, f"wrong between bytes {done} and {done + len(chunk)}"
        done += len(chunk)


def peak_bytes(program: Program) -> int:
    """The most memory that the program has had so far."""
    return _memory(program, "VmHWM:")


def resident_bytes(program: Program) -> int:
    """The memory that the program has now."""
    return _memory(program, "VmRSS:")


def cpu_s(program: Program) -> float:
    """Seconds of processor time that the program's main thread has used (Linux: the scheduler's own count, in ns)."""
    return int(Path(f"/proc/{program.pid}/schedstat").read_text().split()[0]) / 1e9


def _memory(program: Program, field: str) -> int:
    status = Path(f"/proc/{program.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
