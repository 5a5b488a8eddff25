"""The screen: what is received goes up above a prompt that stays where it is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Iterable

from cfcat.edges.terminal import size_of
from cfcat.repl.screen.completion import candidates
from cfcat.repl.screen.display import Display
from cfcat.repl.screen.face import COMMAND_HINT, ESCAPED_NOTICE, TerminalFace
from cfcat.repl.screen.history import History
from cfcat.repl.screen.prompt import LineEditor
from cfcat.report.messages import Message
from cfcat.report.render import escape
from cfcat.report.theme import Part, paint

__all__ = ["Screen"]

# Characters drawn in one batch; typed text becomes visible after each batch.
BATCH_CHARACTERS = 32 * 1024
# A prompt takes 2 ms to be drawn; nobody reads faster than this.
INTERVAL_S = 0.02
# Columns that must be left for what is typed; otherwise the prompt is short.
LEFT_FOR_TEXT = 12
LEAST_ADDRESS = 8  # shorter, it says nothing
HIDDEN = "****"  # in place of a line that was not shown while it was typed


class Above:
    """Rows that wait to be drawn above the prompt."""

    def __init__(self) -> None:
        self._rows: deque[str] = deque()
        self.characters = 0

    def add(self, rows: Iterable[str]) -> None:
        """Put rows at the end; one without a newline is full, and the next goes on with its line."""
        for row in rows:
            self._rows.append(row)
            self.characters += len(row)

    def add_lines(self, text: str) -> None:
        """Put lines at the end that are no part of what is there."""
        if self._rows and not self._rows[-1].endswith("\n"):
            self.add(["\n"])
        self.add([text + "\n"])

    def take(self, characters: int | None = None) -> str:
        """Take at least one row and no more than so many characters, or everything; "" if there is nothing."""
        taken: list[str] = []
        size = 0
        while self._rows and (not taken or characters is None or size + len(self._rows[0]) <= characters):
            taken.append(self._rows.popleft())
            size += len(taken[-1])
        self.characters -= size
        text = "".join(taken)
        return text if text.endswith("\n") or not text else text + "\n"


class Screen(TerminalFace):
    """A session on a terminal that can move its cursor. `color`: SGR colours may be used.

    What is to go above the prompt waits in `_above`, until the terminal has room and the last drawing was long enough
    ago; only then the editor is drawn anew, below it. While the process is stopped (`_suspending`) nothing is drawn.

    `Session` calls it as its `Face`, `LineEditor` as its owner: what it draws is asked for here, and what was typed is
    told here.
    """

    def __init__(self, *, color: bool) -> None:
        super().__init__()
        self._color = color
        self._columns = size_of(1)[0]
        self._display = Display(self._columns, color=color)
        self._above = Above()
        self._editor: LineEditor | None = None
        self._history: History | None = None
        self._told_escaped = False
        self._is_stale = False
        self._drawn_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._suspending: asyncio.Task[None] | None = None

    # ---- the face of the session

    def take(self, data: bytes) -> None:
        """As in `TerminalFace`."""
        self._above.add(self._display.feed(data))
        if self._display.has_escaped and not self._told_escaped:
            self._told_escaped = True
            self.show_notice(ESCAPED_NOTICE)

    def show_notice(self, text: str) -> None:
        """As in `Face`."""
        self._show(text, "notice")

    def show_error(self, message: Message) -> None:
        """As in `Face`."""
        self._show(str(message).rstrip("\n"), "error")

    def state_changed(self) -> None:
        """As in `Face`."""
        self._follow_session()
        self.warn_of_raw()
        self.draw()

    def _show(self, text: str, part: Part) -> None:
        self._follow_session()
        self._above.add_lines("\n".join(self._paint(part, line) for line in text.split("\n")))
        self.draw()

    def _follow_session(self) -> None:
        """Draw in the view that was asked for, and end the row that nothing more will come for."""
        self._above.add(self._display.set_view(self.session.view))
        self._display.decode_as(self.session.settings.encoding)
        if {"recv-closed", "closed"} & set(self.session.prompt_state.marks):
            self._above.add(self._display.finish())

    def _paint(self, part: Part, text: str) -> str:
        return paint(part, text) if self._color else text

    # ---- drawing

    @property
    def is_stale(self) -> bool:
        """As in `TerminalFace`."""
        return self._is_stale or self._above.characters > 0

    @property
    def undrawn(self) -> int:
        """As in `TerminalFace`."""
        return self._above.characters

    def draw(self, *, everything: bool = False) -> None:
        """As in `TerminalFace`."""
        if self._editor is not None and self._editor.is_running:
            self._is_stale = bool(self.queue.waiting_bytes)
            if not self._is_stale:  # otherwise when there is room
                self._redraw(self._editor)
        elif everything or not self.queue.waiting_bytes:
            if everything:
                self._above.add(self._display.finish())
            self.queue.write(self._above.take(None if everything else BATCH_CHARACTERS).replace("\n", "\r\n"))

    def _redraw(self, editor: LineEditor) -> None:
        """Draw soon: what comes in small pieces is not drawn at each of them."""
        loop = asyncio.get_running_loop()
        wait_s = self._drawn_at + INTERVAL_S - loop.time()
        if wait_s <= 0 or self._above.characters >= BATCH_CHARACTERS:
            editor.redraw()
        elif self._timer is None:
            self._timer = loop.call_later(wait_s, editor.redraw)

    def before_drawing(self) -> str:
        """What goes up now; nothing while the terminal is busy with what went up before."""
        self._drawn_at = asyncio.get_running_loop().time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        columns = size_of(1)[0]
        if columns != self._columns:
            self._columns = columns
            self._above.add(self._display.resize(columns))
        return "" if self.queue.waiting_bytes else self._above.take(BATCH_CHARACTERS)

    def unfinished(self) -> str:
        """The row above the prompt."""
        return self._display.unfinished

    def prompt(self) -> list[tuple[Part, str]]:
        """The prompt, or the question, with the looks of its parts."""
        if self.question:
            return [("prompt", self.question)]
        state = self.session.prompt_state
        tls: Part = "insecure" if state.tls == "tls!" else "tls"
        marks: list[tuple[Part, str]] = [(tls, state.tls), *(("prompt", f"[{mark}]") for mark in state.marks)]
        room = self._columns - LEFT_FOR_TEXT - sum(len(text) + 1 for _, text in marks if text)
        words: list[tuple[Part, str]] = [("prompt", _fitted(state.address, room)), *marks]  # what matters stays
        gap: tuple[Part, str] = ("prompt", " ")
        parts = [part for word in words if word[1] for part in (gap, word)][1:]
        if sum(len(text) for _, text in parts) > self._columns - LEFT_FOR_TEXT:
            parts = []
        return [*parts, ("prompt", "> ")]

    def toolbar(self) -> str:
        """Bytes each way, TLS version, line ending, protocol, and whether something is being done."""
        session = self.session
        facts = [
            f"sent {session.sent_bytes}, received {session.received_bytes}",
            session.tls_version or "no TLS",
            session.eol,
            session.protocol or "no protocol",
            *([] if session.view == "text" else [session.view]),
            *(["busy, Ctrl-C cancels"] if self.lines.is_slow else []),
        ]
        return " " + " | ".join(facts)

    # ---- typing

    async def interact(self) -> None:
        """As in `TerminalFace`."""
        if self.session.settings.history:
            self._history = History.of_user()
            self._history.load()
        earlier = self._history.for_host(self.session.target) if self._history is not None else []
        self._editor = LineEditor(self, self.queue, history=earlier, color=self._color)
        self._warn_of_history()
        loop = asyncio.get_running_loop()
        stops = signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN
        loop.add_signal_handler(signal.SIGCONT, self._continued)
        if stops:
            loop.add_signal_handler(signal.SIGTSTP, self._suspend, os.getpid())
        try:
            await self._editor.run()
        except EOFError:
            await self.hung_up()
        finally:
            loop.remove_signal_handler(signal.SIGCONT)
            if stops:
                loop.remove_signal_handler(signal.SIGTSTP)

    def completion_of(self, text: str) -> list[str]:
        """The completions of the text before the cursor."""
        return candidates(text, self.session.protocol, self.session.target)

    def entered(self, text: str, shown: str) -> bool:
        """Enter: what stood in the line goes up, and its turn comes."""
        is_answer = bool(self.question)
        self._above.add(self._display.end_row())
        prompt = "".join(self._paint(part, text) for part, text in self.prompt())
        for line in shown.split("\n"):
            self._above.add_lines(prompt + self._paint("sent", HIDDEN if self.hides_input() else escape(line)))
        self.enter(text.split("\n"), store=text == shown)
        self.draw()
        return not is_answer and not text[:1].isspace()

    def hides_input(self) -> bool:
        """Must what is typed stay hidden? The answer to a question of ours is shown, unless that asks for a secret."""
        return self.hides_answer if self.question else self.session.hides_input

    def end_typed(self) -> None:
        """Ctrl-D on an empty line."""
        self.end()

    def interrupt_typed(self) -> None:
        """Ctrl-C: an answer, or the line, or what is being done."""
        assert self._editor is not None
        if self.question:
            self.answer(None)
        elif not self._editor.clear():
            self.cancel()

    def escape_typed(self) -> None:
        """Ctrl-], the escape character of telnet, begins a command, as it does there. No secret gets a colon."""
        assert self._editor is not None
        if not self.question and not self.hides_input() and not self._editor.begin(":"):
            self.show_notice(COMMAND_HINT)

    async def ask(self, question: str, *, hidden: bool = False) -> str | None:
        """As in `TerminalFace`; what is being typed is put aside."""
        if self._editor is None or not self._editor.is_running:
            return None
        typed = self._editor.take_away()
        try:
            return await super().ask(question, hidden=hidden)
        finally:
            self._editor.put_back(typed)

    def executed(self, line: str, *, is_secret: bool) -> None:
        """As in `TerminalFace`."""
        if is_secret and self._editor is not None:
            self._editor.forget(line)
        elif self._history is not None and not is_secret:
            self._history.add(self.session.target, line)
            self._warn_of_history()

    def _warn_of_history(self) -> None:
        if self._history is not None and (warning := self._history.take_warning()):
            self.show_notice(f"warning: {warning}")

    # ---- stopping

    def suspend_typed(self) -> None:
        """Ctrl-Z: the whole job stops, as if the terminal itself had seen it."""
        if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
            self._suspend(0)

    def _suspend(self, pid: int) -> None:
        if self._suspending is None or self._suspending.done():
            self._suspending = asyncio.create_task(self._stop(pid))

    async def _stop(self, pid: int) -> None:
        """Put the terminal in order, stop, and take it back."""
        assert self._editor is not None
        loop = asyncio.get_running_loop()
        async with self._editor.away():
            self.modes.restore()
            await self.queue.drain()
            for number in (signal.SIGTSTP, signal.SIGCONT):
                loop.remove_signal_handler(number)
            os.kill(pid, signal.SIGTSTP)
            loop.add_signal_handler(signal.SIGTSTP, self._suspend, os.getpid())
            loop.add_signal_handler(signal.SIGCONT, self._continued)

    def _continued(self) -> None:
        """Set the terminal up again after SIGSTOP, which no program can handle: the shell has used it since."""
        if self._editor is not None and (self._suspending is None or self._suspending.done()):
            self._editor.take_terminal()


def _fitted(address: str, room: int) -> str:
    """As much of an address as there is room for; its port tells most."""
    if len(address) <= room:
        return address
    return f"..{address[len(address) + 2 - room :]}" if room >= LEAST_ADDRESS else ""
