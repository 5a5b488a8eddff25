"""A session on a real terminal: how it is started, and what its screen is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.helpers.peers import Server
from tests.helpers.terminal import Terminal, terminal

__all__ = ["BANNER", "CONTROL", "OVER_A_NETWORK", "OWN_SEQUENCE", "Repl", "repl"]

BANNER = "; :help lists commands, Ctrl-D ends"
# What cfcat itself sends: SGR, cursor movement, erasing, autowrap, cursor, cursor keys, bracketed paste.
OWN_SEQUENCE = re.compile(rb"\x1b\[(?:[0-9;]*m|[0-9]*[ABCDJK]|\?7[lh]|\?25[lh]|\?12l|\?1l|\?2004[lh])")
CONTROL = re.compile(rb"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
# Loopback is no network, and the tests do not leave it: the program is told otherwise, so that it asks.
OVER_A_NETWORK = """
import sys, cfcat.repl.session
cfcat.repl.session.is_loopback = lambda address: False
from cfcat.__main__ import main
sys.exit(main())
"""


class Repl:
    """A session that has drawn its first prompt."""

    def __init__(self, term: Terminal, server: Server) -> None:
        self.term = term
        self.address = server.address
        self.prompt = f"{server.address}>"

    def type(self, text: str | bytes) -> None:
        """Type."""
        self.term.type(text)

    def expect(self, text: str) -> None:
        """Wait until one line of the screen contains this."""
        self.term.expect_screen(text)

    def expect_picture(self, *wanted: str) -> None:
        """Wait until the screen shows exactly these lines above the toolbar; `>` at the beginning is the prompt."""
        lines = [self.prompt + line[1:] if line.startswith(">") else line for line in wanted]
        self.term.until(lambda _: self.picture() == lines)

    def expect_cursor(self, column: int) -> None:
        """Wait until the cursor is in this column of the prompt; it takes its place after all is drawn."""
        self.term.until(
            lambda lines: lines[self.term.cursor()[0]].startswith(self.prompt) and self.term.cursor()[1] == column
        )

    def picture(self) -> list[str]:
        """The lines of the screen below the banner and above the toolbar."""
        lines = self.term.lines()
        end = next((number for number, line in enumerate(lines) if line.startswith(" sent ")), len(lines))
        return [line for line in lines[:end] if BANNER not in line]

    def toolbar(self) -> str:
        """The line below."""
        return next((line for line in self.term.lines() if line.startswith(" sent ")), "")

    def quit(self) -> None:
        """Leave, and see that the terminal is as it was."""
        self.type("\x03:quit\r")
        self.expect_end(0)

    def expect_end(self, status: int) -> None:
        """Wait for the end; the terminal is as it was: settings, flags, bracketed paste, cursor, colours (SEC-R23)."""
        assert self.term.finish() == status
        self.expect_order()

    def expect_order(self) -> None:
        """The terminal is as it was."""
        assert self.term.attributes() == self.term.attributes_before
        assert self.term.flags() == self.term.flags_before
        output = self.term.output
        for on, off in ((b"\x1b[?2004h", b"\x1b[?2004l"), (b"\x1b[?25l", b"\x1b[?25h"), (b"\x1b[?7l", b"\x1b[?7h")):
            assert output.rfind(off) >= output.rfind(on)
        colours = re.findall(rb"\x1b\[[0-9;]*m", output)
        assert not colours or colours[-1] == b"\x1b[0m"

    def expect_nothing_but_own_sequences(self) -> None:
        """No byte of 00-08, 0b-1f, 7f or C1 control reaches the terminal but in the sequences of cfcat itself
        (SEC-R22).
        """
        rest = OWN_SEQUENCE.sub(b"", self.term.output)
        assert not CONTROL.search(rest), CONTROL.search(rest)


@contextmanager
def repl(
    server: Server,
    *options: str,
    env: dict[str, str | None] | None = None,
    by: Sequence[str] = (),
    **more: Any,
) -> Iterator[Repl]:
    """Run a session on a terminal of 24 rows and 80 columns, without a history unless `env` says so."""
    with terminal(*options, server.address, env={"CFCAT_HISTORY": "", **(env or {})}, by=by, **more) as term:
        session = Repl(term, server)
        term.until(lambda lines: any(line.startswith(server.address) for line in lines))
        yield session
