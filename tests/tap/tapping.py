"""A tap that runs, for the tests beside this."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.helpers.installed import demand
from tests.helpers.program import Argument, Program, Result, start

__all__ = ["Tap", "run_client", "tapping"]

LISTENING = re.compile(r"cfcat: listening on (127\.0\.0\.1:(\d+))")
DEADLINE_S = 30


class Tap:
    """`address`, `port`: where clients connect. `ca`: the authority that they are to trust.

    What it shows is read all the time, since a tap waits for a slow reader.
    """

    def __init__(self, program: Program, address: str, ca: Path) -> None:
        self.program = program
        self.address = address
        self.port = int(address.rpartition(":")[2])
        self.ca = ca
        self._shown = b""
        self._has_ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.program.stdout is not None
        while data := os.read(self.program.stdout.fileno(), 1 << 16):
            self._add(data)
        self._add(b"")

    def _add(self, data: bytes) -> None:
        with self._news:
            self._shown += data
            self._has_ended = not data
            self._news.notify_all()

    def shows(self, mark: str) -> str:
        """All that it has shown, once this is in it: a regular expression."""
        pattern = re.compile(mark.encode(), re.M)
        with self._news:
            found = self._news.wait_for(lambda: self._has_ended or pattern.search(self._shown), DEADLINE_S)
            assert found, f"{mark!r} was not shown: {self._shown[-2000:]!r}"
            assert pattern.search(self._shown), f"{mark!r} was not shown: {self._shown[-2000:]!r}"
            return self._shown.decode()

    def end(self, *, by: signal.Signals | None = signal.SIGINT) -> Result:
        """End it by a signal, or let it end by itself (None); how it went."""
        if by is not None:
            self.program.send_signal(by)
        status = self.program.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self.program.stderr is not None
        stderr = self.program.seen_stderr + self.program.stderr.read()
        return Result(self._shown, stderr.decode(errors="backslashreplace"), status)


@contextlib.contextmanager
def tapping(target: str, *flags: Argument, folder: Path, timeout_s: float = DEADLINE_S) -> Iterator[Tap]:
    """`cfcat --tap` on a free port before `target`."""
    ca = folder / "tap-ca.pem"
    with start("--tap", "0", "--ca-out", ca, *flags, target, timeout_s=timeout_s) as program:
        said = program.read_stderr_until("listening on ")
        while not (found := LISTENING.search(said)):
            said = program.read_stderr_until("\n")
        yield Tap(program, found[1], ca)


def run_client(command: Sequence[Argument], stdin: bytes = b"", env: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Run somebody else's client; its status and all that it says."""

    demand(str(command[0]))
    done = subprocess.run(
        [*map(str, command)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE_S,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return done.returncode, done.stdout
