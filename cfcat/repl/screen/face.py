"""What both faces of a session on a terminal have in common, from the first connection to the terminal's last state.

The session's reader and the prompt run side by side, and what was entered is executed in order. Signals end the session
by a flag: the terminal is put in order, then the process dies of the signal (SEC-R23; row 49).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from cfcat.edges.console import say
from cfcat.edges.stdout import open_output
from cfcat.edges.terminal import Modes, TerminalQueue
from cfcat.errors import SocketError
from cfcat.record.words import plural
from cfcat.repl.screen.lines import Lines
from cfcat.repl.session import Face, Session
from cfcat.report.messages import Message

__all__ = ["COMMAND_HINT", "ESCAPED_NOTICE", "LEAVE_HINT", "MAX_WAITING_BYTES", "TerminalFace"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Reading from the peer pauses while more than this waits to be drawn.
MAX_WAITING_BYTES = 256 * 1024
# One turn of the loop decodes and filters so much: what was typed must not wait for a whole chunk.
SLICE_BYTES = 16 * 1024
# Time for queued data after a signal; short, because the sender of the signal wants a quick end.
LAST_WORDS_S = 0.25
# A terminal that has hung up says so by failing, and by SIGHUP: that comes at the same time, if at all.
HANG_UP_S = 0.1
YES = frozenset({"y", "yes"})
ESCAPED_NOTICE = "control characters from the peer are shown escaped; :view hex shows the bytes, :view raw passes them"
LEAVE_HINT = "Ctrl-D or :quit leaves"
COMMAND_HINT = "a command is a line that begins with a colon: :help; Ctrl-C clears this line"
RAW_WARNING = "warning: everything the peer sends reaches the terminal as it is; :view text ends that"


class TerminalFace(ABC):
    """A face on the terminal that is descriptors 0 and 1. Make it inside a running event loop, and `run()` it once.

    States: made → running → over (`leave()`: by the user, a signal, a hang-up or a bug), and then the terminal is put
    back as it was. Lines that were entered wait in `lines` and are executed one after the other; a question
    (`question`) is answered by the next line, not executed.

    `Session` calls it as its `Face`; the faces of this folder call `enter()`, `end()`, `cancel()`, `answer()`.
    """

    session: Session

    def __init__(self) -> None:
        self.lines = Lines(self._on_dropped, self.draw)
        self.modes = Modes(0)
        self.queue = TerminalQueue(open_output(1, asyncio.get_running_loop()), self._on_room, self._on_gone)
        self.question = ""  # what the user is being asked
        self.hides_answer = False  # is it a secret?
        self._answer: asyncio.Future[str | None] | None = None
        self._room = asyncio.Event()
        self._was_raw = False
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    # ---- what a face does its own way

    @abstractmethod
    async def interact(self) -> None:
        """Read what the user types until the terminal has hung up; cancelled when the session ends."""

    @abstractmethod
    def take(self, data: bytes) -> None:
        """Draw what was received, soon."""

    @abstractmethod
    def draw(self, *, everything: bool = False) -> None:
        """Give the terminal what waits to be drawn; a limited amount, unless `everything`."""

    @property
    @abstractmethod
    def is_stale(self) -> bool:
        """Is anything left to draw because the terminal was busy?"""

    @property
    @abstractmethod
    def undrawn(self) -> int:
        """How many characters have been taken and not been given to the terminal."""

    @abstractmethod
    def state_changed(self) -> None:
        """As in `Face`."""

    @abstractmethod
    def show_notice(self, text: str) -> None:
        """As in `Face`."""

    @abstractmethod
    def show_error(self, message: Message) -> None:
        """As in `Face`."""

    def executed(self, line: str, *, is_secret: bool) -> None:
        """A line that may be stored, unless it is secret, has been executed, well or not."""

    # ---- the run

    async def run(self, make_session: Callable[[Face], Session]) -> int:
        """Connect, and stay until the user leaves or a signal comes; returns the exit status, or dies of the signal.

        Raises:
            SocketError: the first connection did not come about.
        """
        self.session = make_session(self)
        number = 0
        try:
            await self.session.open()
            number = await self._until_over()
        finally:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORDS_S if number else None):
                        await self.session.shut()
            finally:
                await self._close_terminal()
        if number:
            os.kill(os.getpid(), number)
            return 128 + number  # it is blocked
        return 0

    def on_signal(self, number: int) -> None:
        """A signal that ends the session has come."""
        self.leave(number)

    def leave(self, number: int = 0) -> None:
        """End the session; `number`: because of this signal."""
        if not self._over.done():
            self._over.set_result(number)

    async def hung_up(self) -> None:
        """The terminal has hung up: leave, by SIGHUP if that comes."""
        await asyncio.wait([self._over], timeout=HANG_UP_S)
        self.leave()

    async def _until_over(self) -> int:
        """Talk with the user; returns the signal that ended it, or 0. The terminal is in order then."""
        with self._handlers():
            say(self.session.banner)
            tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(self.interact())]
            tasks.append(asyncio.ensure_future(self.lines.run()))
            try:
                await asyncio.wait([*tasks, self._over], return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
                return self._over.result() if self._over.done() else 0
            finally:
                self.lines.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.modes.restore()
                await self.queue.drain()  # while signals are still waited for

    @contextlib.contextmanager
    def _handlers(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        # Ignored from the start (nohup) is ignored to the end.
        numbers = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in numbers:
            loop.add_signal_handler(number, self.on_signal, number)
        loop.set_exception_handler(self._on_loop_error)
        try:
            yield
        finally:
            loop.set_exception_handler(None)
            for number in numbers:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)  # from here on it ends the process wherever it is

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug in a callback (a key, a redraw) ends the session as a bug elsewhere does."""
        if "handle" in context and not self._over.done():
            self._over.set_exception(context["exception"])
        else:
            loop.default_exception_handler(context)

    async def _close_terminal(self) -> None:
        self.draw(everything=True)
        await self.queue.close()
        self.modes.restore()
        if self._was_raw:
            self.modes.forget_answers()

    # ---- what is entered

    def enter(self, lines: Sequence[str], *, store: bool = True) -> None:
        """Take lines that were entered together: an answer, or text and commands to be executed in order."""
        if self._answer is not None:
            self.answer(lines[0])
        else:
            self.lines.add((functools.partial(self._execute, line, store) for line in lines), len(lines))

    def end(self) -> None:
        """Ctrl-D: take its turn behind what was entered."""
        if self._answer is not None:
            self.answer(None)
        else:
            self.lines.add([functools.partial(self._attempt, self.session.end)])

    async def _execute(self, line: str, store: bool) -> bool:
        try:
            return await self._attempt(functools.partial(self.session.execute, line))
        finally:
            if store:
                self.executed(line, is_secret=self.session.last_was_secret)

    async def _attempt(self, do: Callable[[], Awaitable[None]]) -> bool:
        try:
            await do()
        except SocketError as error:
            self.session.show_failure(error)
            return False
        finally:
            if self.session.over:
                self.leave()
        return True

    async def confirm(self, question: str) -> bool:
        """As in `Face`."""
        return (await self.ask(f"{question} (y/N) ") or "").strip().lower() in YES

    async def ask_secret(self, prompt: str) -> str | None:
        """As in `Face`."""
        return await self.ask(f"{prompt} ", hidden=True)

    async def ask(self, question: str, *, hidden: bool = False) -> str | None:
        """The next line that is entered, or None where that is Ctrl-C or Ctrl-D; `hidden`: it is not shown."""
        self.question, self.hides_answer = question, hidden
        self._answer = asyncio.get_running_loop().create_future()
        self.state_changed()
        try:
            return await self._answer
        finally:
            self.question, self.hides_answer, self._answer = "", False, None
            self.state_changed()

    def answer(self, line: str | None) -> None:
        """Answer the question that was asked; None: with no."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(line)

    def show_text(self, text: str) -> None:
        """As in `Face`."""
        self.show_notice(text)

    def end_within(self, seconds: float) -> bool:
        """As in `Face`: a person ends a session."""
        return False

    # ---- what is received

    async def show_received(self, data: bytes) -> None:
        """As in `Face`."""
        for start in range(0, len(data), SLICE_BYTES):
            if start:
                await asyncio.sleep(0)
            self.take(data[start : start + SLICE_BYTES])
            self.draw()
            while self.undrawn + self.queue.waiting_bytes > MAX_WAITING_BYTES:
                self._room.clear()
                await self._room.wait()

    def cancel(self) -> None:
        """Ctrl-C: cancel what is being done, and say what of what was entered behind it is not done."""
        waiting = self.lines.cancel()
        if waiting is None:
            self.show_notice(LEAVE_HINT)
        else:
            dropped = f"; {plural(waiting, 'line')} entered behind it not sent" if waiting else ""
            self.show_notice(f"cancelled{dropped}")

    def warn_of_raw(self) -> None:
        """Say once what `:view raw` means; its traces are dropped at the end (SEC-R24)."""
        if self.session.view == "raw" and not self._was_raw:
            self._was_raw = True
            self.show_notice(RAW_WARNING)

    def _on_dropped(self, count: int) -> None:
        lines = "line that was pasted with it is" if count == 1 else "lines that were pasted with it are"
        self.show_notice(f"{count} more {lines} not executed")

    def _on_room(self) -> None:
        self._room.set()
        if self.is_stale:
            self.draw()

    def _on_gone(self) -> None:
        self._room.set()
        asyncio.get_running_loop().call_later(HANG_UP_S, self.leave)
