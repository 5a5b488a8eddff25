"""A real terminal: a program runs on a pty, pexpect waits for what it prints, pyte is the screen.

    with terminal("localhost:70") as term:
        term.type("\\r")
        term.expect("hello")
        assert term.lines()[0] == "hello"
        assert term.finish() == 0

The test keeps the slave side open as well, as a shell does whose job is running: `attributes()` and
`flags()` are those of the very descriptors that the program inherited, before, during and after its run.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn

import pyte
import pytest
from pexpect import TIMEOUT
from pexpect.fdpexpect import fdspawn
from pyte.screens import Char

from tests.helpers.program import Argument, command, environment

__all__ = ["Terminal", "terminal"]

# How long to wait for more output before looking whether the program still lives.
_SLICE_S = 0.02
# A session leader without a controlling terminal gets one by opening it; descriptors 0-2 stay as inherited.
_TAKE_TERMINAL = ["sh", "-c", ': <"$0" && exec "$@"']


class _Screen(pyte.Screen):
    """A screen that answers the program's questions (cursor position, device status), as terminals do.

    pyte knows no dim characters: here they blink, which no character of cfcat's does.
    """

    def __init__(self, columns: int, rows: int, master: int) -> None:
        super().__init__(columns, rows)
        self._master = master

    def write_process_input(self, data: str) -> None:
        os.write(self._master, data.encode())

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        dim = {2: (5,), 22: (22, 25)}
        super().select_graphic_rendition(*(each for one in attributes for each in dim.get(one, (one,))))


class Terminal:
    """A program on a terminal of its own, which is its controlling terminal: Ctrl-C is a SIGINT.

    `output` is every byte that the terminal was sent, the echo of what was typed included.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        rows: int = 24,
        columns: int = 80,
        env: Mapping[str, str | None] | None = None,
        timeout_s: float = 10,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> None:
        """Start `argv`; a standard descriptor that is not given is the terminal."""
        self.output = b""
        self._is_open = True
        self._master, self._slave = pty.openpty()
        self._screen = _Screen(columns, rows, self._master)
        self._stream = pyte.ByteStream(self._screen)
        self._child: Any = fdspawn(self._master, timeout=timeout_s)
        self._child.logfile_read = self  # see write()
        self._deadline = time.monotonic() + timeout_s
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.attributes_before = self.attributes()
        self.flags_before = self.flags()
        self.process = subprocess.Popen(
            [*_TAKE_TERMINAL, os.ttyname(self._slave), *argv],
            stdin=self._slave if stdin is None else stdin,
            stdout=self._slave if stdout is None else stdout,
            stderr=self._slave if stderr is None else stderr,
            env=environment({"TERM": "xterm-256color", **(env or {})}),
            start_new_session=True,
        )

    def type(self, text: str | bytes) -> None:
        """Type `text`: Enter is "\\r", Ctrl-C "\\x03", Ctrl-D "\\x04"."""
        left = text.encode() if isinstance(text, str) else text
        while left:
            if not select.select([], [self._master], [], self._remaining())[1]:
                self.fail(f"the terminal does not take {left[:40]!r}")
            left = left[os.write(self._master, left) :]

    def expect(self, pattern: str) -> bytes:
        """Wait until the output not yet expected matches the regular expression; return the match."""
        while True:
            with suppress(TIMEOUT):
                self._child.expect(pattern.encode(), timeout=min(_SLICE_S, self._remaining()))
                return bytes(self._child.match.group())
            self._give_up_if_over(f"no match for {pattern!r}")

    def expect_screen(self, text: str) -> None:
        """Wait until one line of the screen contains `text`."""
        while not any(text in line for line in self.lines()):
            if not self._read():
                self._give_up_if_over(f"{text!r} is not on the screen")

    def until(self, fact: Callable[[list[str]], object]) -> None:
        """Wait until the lines of the screen make this true."""
        while not fact(self.lines()):
            if not self._read():
                self._give_up_if_over("the screen does not come to what is waited for")

    def read_fast(self) -> bytes:
        """Return what came since the last look, b"" if nothing did for a while; the screen has not got it (yet).

        pyte is slow: a burst is read with this, and `show()` is given what matters of it.
        """
        if not select.select([self._master], [], [], _SLICE_S)[0]:
            self._give_up_if_over("nothing more comes")
            return b""
        return os.read(self._master, 1 << 16)

    def show(self, data: bytes) -> None:
        """Put data that was read fast on the screen."""
        self._stream.feed(data)

    def lines(self) -> list[str]:
        """Return what the screen shows, line by line, without blanks at the end of lines."""
        return [line.rstrip() for line in self._screen.display]

    def cells(self) -> list[list[Char]]:
        """Return the same with its looks, to the last column; `blink` is dim."""
        columns = range(self._screen.columns)
        return [[self._screen.buffer[row][column] for column in columns] for row in range(self._screen.lines)]

    def look(self, text: str) -> tuple[str, bool, bool]:
        """Return colour, boldness and dimness of the last place on the screen that shows this; all of it alike."""
        rows = zip(self.lines(), self.cells(), strict=True)
        line, row = [(line, row) for line, row in rows if text in line][-1]
        start = line.rindex(text)
        looks = {(cell.fg, cell.bold, cell.blink) for cell in row[start : start + len(text)]}
        assert len(looks) == 1, f"{text!r} has several looks: {looks}"
        return looks.pop()

    def cursor(self) -> tuple[int, int]:
        """Return row and column of the cursor, from 0."""
        return self._screen.cursor.y, self._screen.cursor.x

    def attributes(self) -> list[Any]:
        """Return the terminal's tcgetattr()."""
        return termios.tcgetattr(self._slave)

    def set_attributes(self, attributes: list[Any]) -> None:
        """Set them, as a shell does that has the terminal back."""
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)

    def flags(self) -> int:
        """Return F_GETFL of the open file that the program's terminal descriptors share."""
        return fcntl.fcntl(self._slave, fcntl.F_GETFL)

    def unread(self) -> int:
        """Return how many bytes were typed and not read; of a line that was not ended none, if lines are edited."""
        return int(struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, struct.pack("i", 0)))[0])

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size; the program gets a SIGWINCH."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def finish(self) -> int:
        """Wait for the program's end and return its status: -n if it died of signal n."""
        while self.process.poll() is None:
            if not self._read() and time.monotonic() > self._deadline:
                self.fail("not finished before the deadline")
        while self._read(0):
            pass
        return self.process.returncode

    def fail(self, reason: str) -> NoReturn:
        """Kill the program and fail the test with what is on the screen."""
        self.kill()
        screen = "\n".join(f"|{line}" for line in self.lines() if line)
        pytest.fail(f"{reason}\ncommand: {self.process.args!r}\nscreen:\n{screen}", pytrace=False)

    def kill(self) -> None:
        """Kill the program and whatever it started and left running."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def hang_up(self) -> None:
        """Close the terminal, as a window is closed."""
        for fd in (self._slave, self._master):
            os.close(fd)
        self._is_open = False

    def close(self) -> None:
        """End everything."""
        self.kill()
        if self._is_open:
            self.hang_up()

    # What pexpect has read goes to the screen by way of its log.

    def write(self, data: bytes) -> None:
        """Take output in: pexpect's side, not for tests."""
        self.output += data
        self._stream.feed(data)

    def flush(self) -> None:
        """Do nothing: pexpect's side, not for tests."""

    def _read(self, timeout_s: float = _SLICE_S) -> bool:
        """Take in what there is, for expect() too; say whether there was anything."""
        try:
            data = self._child.read_nonblocking(1 << 16, timeout=timeout_s)
        except TIMEOUT:
            return False
        self._child.buffer += data
        return True

    def _remaining(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _give_up_if_over(self, reason: str) -> None:
        if self.process.poll() is not None and not self._read(0):
            self.fail(f"{reason}; the program has ended with status {self.process.returncode}")
        if not self._remaining():
            self.fail(reason)


@contextmanager
def terminal(
    *args: Argument,
    rows: int = 24,
    columns: int = 80,
    env: Mapping[str, str | None] | None = None,
    timeout_s: float = 10,
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    by: Sequence[str] = (),
) -> Iterator[Terminal]:
    """Run cfcat on a terminal; standard descriptors may be given, and are the terminal otherwise.

    `by` is a command that runs another one, as in `program.start`.
    """
    term = Terminal(
        [*by, *command(*args)],
        rows=rows,
        columns=columns,
        env=env,
        timeout_s=timeout_s,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
    )
    try:
        yield term
    finally:
        term.close()
