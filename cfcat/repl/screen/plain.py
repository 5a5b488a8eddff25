"""A session on a terminal that cannot move its cursor: lines as the terminal gives them, and no escape sequences.

What is received is filtered as on the screen, and shown as it comes. The terminal edits and echoes the line itself.
"""

from __future__ import annotations

import asyncio
import signal

from cfcat.edges.stdin import open_input
from cfcat.repl.screen.face import ESCAPED_NOTICE, TerminalFace
from cfcat.report.hexdump import HexDump
from cfcat.report.messages import Message
from cfcat.report.render import TerminalFilter

__all__ = ["Plain"]


class Plain(TerminalFace):
    """Neither prompt nor toolbar; marks of the state are told when they change."""

    def __init__(self) -> None:
        super().__init__()
        self._filter = TerminalFilter()
        self._dump = HexDump("<")
        self._in_line = False
        self._told_escaped = False
        self._marks: tuple[str, ...] = ()
        self._hides_input = False

    # ---- the face of the session

    def take(self, data: bytes) -> None:
        """As in `TerminalFace`. A chunk ends a row of the dump: nothing could complete it on the screen."""
        view = self.session.view
        if view == "hex":
            self._write("".join(row + "\n" for row in [*self._dump.feed(data), *self._dump.flush()]))
        elif view == "raw":
            self._write(data.decode("utf-8", "surrogateescape"))
        else:
            self._write(self._filter.feed_text(data))
        self._follow_prompt()
        if self._filter.escaped and not self._told_escaped and not self._in_line:  # never within a line of the peer's
            self._told_escaped = True
            self.show_notice(ESCAPED_NOTICE)

    def _follow_prompt(self) -> None:
        """Let the terminal echo what is typed, or only the end of the line (SEC-R29)."""
        hides = self.hides_answer if self.question else self.session.hides_input
        if hides != self._hides_input:
            self._hides_input = hides
            self.modes.echo(not self._hides_input)

    def show_notice(self, text: str) -> None:
        """As in `Face`."""
        self._write(("\n" if self._in_line else "") + text + "\n")

    def show_error(self, message: Message) -> None:
        """As in `Face`."""
        self.show_notice(str(message).rstrip("\n"))

    def state_changed(self) -> None:
        """As in `Face`."""
        self.warn_of_raw()
        self._filter.decode_as(self.session.settings.encoding)
        self._follow_prompt()
        marks = self.session.prompt_state.marks
        if {"recv-closed", "closed"} & set(marks):
            self._write(self._filter.feed_text(b"", final=True))
        if marks != self._marks:
            self._marks = marks
            if marks:
                self.show_notice(" ".join(f"[{mark}]" for mark in marks))
        if self.question:
            self._write(self.question)

    def _write(self, text: str) -> None:
        if text:
            self._in_line = not text.endswith("\n")
            self.queue.write(text)

    # ---- drawing: there is nothing that waits but what the terminal has not taken

    @property
    def is_stale(self) -> bool:
        """As in `TerminalFace`."""
        return False

    @property
    def undrawn(self) -> int:
        """As in `TerminalFace`."""
        return 0

    def draw(self, *, everything: bool = False) -> None:
        """As in `TerminalFace`."""
        if everything:
            self._write(self._filter.feed_text(b"", final=True) + "\n" * self._in_line)

    # ---- typing

    async def interact(self) -> None:
        """As in `TerminalFace`."""
        stdin = open_input(0, asyncio.get_running_loop())
        typed = b""
        try:
            while True:
                chunk = bytes(await stdin.read())
                if not chunk and not typed:
                    self.end()
                    await self.lines.finished()
                *lines, typed = (typed + chunk).split(b"\n")
                for line in lines:
                    self._in_line = False  # the terminal has echoed the end of the line
                    self.enter([line.decode("utf-8", "surrogateescape")])
        finally:
            stdin.close()

    def on_signal(self, number: int) -> None:
        """The terminal itself has dropped the line at Ctrl-C, and tells us by a signal."""
        if number != signal.SIGINT:
            self.leave(number)
            return
        self._in_line = True  # the terminal has echoed ^C, and no end of the line
        if self.question:
            self.answer(None)
        else:
            self.cancel()
