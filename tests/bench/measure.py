"""One run of one tool: its wall time, its own processor time, its peak memory; and what is at its two ends."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.bench.server import CHUNK, MIB

__all__ = ["Background", "Cost", "Drain", "Server", "feeder", "free_port", "reap", "timed"]

LIMIT_S = 120.0
LOOK_S = 0.002


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds, seconds of the tool's own process (user and system), MiB."""

    wall: float
    cpu: float
    peak: float
    status: int = 0


class Server:
    """A running `server.py`; with `listener`, the port of a tool that listens, it is a client."""

    def __init__(self, role: str, count: int, certificate: Path | None, listener: int | None = None) -> None:
        command = [sys.executable, "-m", "tests.bench.server", role, str(count), str(certificate or "")]
        command += [] if listener is None else [str(listener)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.said())

    def said(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def free_port() -> int:
    """A port to listen on; none that a client may get for its own end, lest it meet itself while nobody listens."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


class Background(threading.Thread):
    """Work beside a run, whose error is raised by `join`."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def join(self, timeout: float | None = LIMIT_S) -> None:
        super().join(timeout)
        if self._error is not None:
            raise self._error


class Drain:
    """The reading end of a tool's stdout: counts, and keeps the last bytes; `see` is shown all of them."""

    def __init__(self, see: Callable[[memoryview], object] | None = None) -> None:
        self._read, self.fd = os.pipe()
        self._see = see
        self.count = 0
        self.tail = b""
        self._thread = Background(self._work)

    def _work(self) -> None:
        buffer = memoryview(bytearray(MIB))
        while size := os.readv(self._read, [buffer]):
            self.count += size
            self.tail = bytes(buffer[max(0, size - 32) : size])
            if self._see is not None:
                self._see(buffer[:size])
        os.close(self._read)

    def finish(self) -> None:
        """Wait for the end; the tool has ended, and with it the last writer."""
        os.close(self.fd)
        self._thread.join()


@contextmanager
def feeder(count: int) -> Iterator[IO[bytes]]:
    """The end of a pipe into which another program writes `count` bytes."""
    command = ["dd", "if=/dev/zero", f"bs={CHUNK}", f"count={count // CHUNK}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.stdout.close()
            process.kill()


def timed(command: list[str], stdin: int | IO[bytes], stdout: int) -> Cost:
    """Run a tool to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)
    return reap(process, began)


def reap(process: subprocess.Popen[bytes], began: float) -> Cost:
    """Wait for a tool's end, looking at its peak meanwhile: `ru_maxrss` would begin with this program's own."""
    peak, deadline = 0.0, time.monotonic() + LIMIT_S
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, _peak_mib(process.pid))
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(LOOK_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak, process.returncode)


def _peak_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0)
