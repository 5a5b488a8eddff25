"""A session without a terminal: each line of stdin is a line of the session, read while it runs.

Received bytes go to stdout as they are, everything else to stderr. The first command that fails is the end; after the
last line our side ends, and what comes is read to its end, as in pipe mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from codecs import BOM_UTF8
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from cfcat.core.waiting import until_idle
from cfcat.edges.stdin import Input, open_input
from cfcat.edges.stdout import Output, open_output
from cfcat.errors import (
    ClosedError,
    CommandError,
    IdleTimeout,
    LostError,
    ScriptTimeout,
    SocketError,
    StdinError,
    StdoutError,
)
from cfcat.pipe.ending import STDIN_LOST_S
from cfcat.pipe.pump import PumpOptions
from cfcat.record.events import LineFailed
from cfcat.repl.connection import Connection
from cfcat.repl.session import Face, Session
from cfcat.report.messages import Message, status_of
from cfcat.report.render import TerminalFilter
from cfcat.report.status import ExitStatus

__all__ = ["MAX_LINE_BYTES", "run_script"]

SHEBANG = "#!"  # the first line of a script that is a program: for the system, which has started cfcat with it
MAX_LINE_BYTES = 1024 * 1024  # a line is held in memory as a whole

MakeSession = Callable[[Face], Session]
Say = Callable[[str], None]
T = TypeVar("T")


async def run_script(
    make_session: MakeSession, ends: PumpOptions, say: Say, *, shown: TerminalFilter | None = None, source: int = 0
) -> int:
    """Run the script on descriptor `source`, with descriptor 1 for what is received; returns the exit status.

    `ends`: as in pipe mode, but for `idle_timeout` from the end of the script on. `say` puts text on stderr.
    `shown`: descriptor 1 is a terminal and gets only what this lets pass (SEC-R22).

    Raises:
        SocketError: the first connection did not come about, nothing moved for too long, stdin or stdout failed, the
            time of `:timeout` is over.
        BrokenPipeError: the reader of stdout is gone.
    """
    loop = asyncio.get_running_loop()
    stdout, stdin = open_output(1, loop), open_input(source, loop)
    face = _ScriptFace(stdout, shown, say)
    session = face.session = make_session(face)
    work = [_run(session, _Lines(stdin), ends, face), face.wait_broken(), face.wait_over(), _wait_reader_gone(stdout)]
    if ends.idle_timeout is not None:
        work.append(_watch_idle(session, ends.idle_timeout))
    try:
        status = await _first_of(work)
    finally:
        try:
            await session.shut()
            await face.finish()
        finally:
            face.stop_clock()
            stdin.close()
            stdout.close()
    face.check()  # the very last bytes may have been too many
    return status


async def _run(session: Session, lines: _Lines, ends: PumpOptions, face: _ScriptFace) -> int:
    await session.open()
    number = 0
    while not session.over:
        number = face.line = number + 1
        try:
            if (line := await lines.next()) is None:
                break
            if number > 1 or not line.startswith(SHEBANG):
                await session.execute(line)
        except StdinError:
            await _hear_out(session.need_connection(), ends)
            raise
        except SocketError as error:
            text, hint = session.explain(error)
            message = Message(f"line {number}: {text}", hint)
            face.show_error(message)
            session.events.tell(LineFailed(error, *message))
            opened = session.connection is not None and session.connection.opened
            return ExitStatus.EXPECT if opened else status_of(error)
    face.line = 0
    return ExitStatus.OK if session.over else await _read_on(session.need_connection(), ends)


async def _read_on(connection: Connection, ends: PumpOptions) -> int:
    """After the last line: end our side, read to the peer's end, close; return the exit status."""
    over = asyncio.ensure_future(connection.over.wait())
    ending = asyncio.ensure_future(_end(connection, ends))
    failure: LostError | None = None
    try:
        # The answer that came before a failure of ours may still be unread: reading goes on to its end.
        await asyncio.wait({over}, timeout=ends.quit_after)
        if ending.done():
            failure = ending.result()
    finally:
        over.cancel()
        ending.cancel()
        await asyncio.wait({over, ending})
    if failure is not None:
        raise failure
    if connection.error is not None:
        return status_of(connection.error)  # it has been told
    await connection.close()
    connection.check_answered()
    return ExitStatus.OK


async def _hear_out(connection: Connection, ends: PumpOptions) -> None:
    """Our side can say no more: return when the peer has ended, or has been silent for so long, or `-q` is over."""
    silent = until_idle(STDIN_LOST_S, lambda: connection.received_bytes)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ends.quit_after):
            await _first_of((_until_over(connection), silent))


async def _first_of(work: Iterable[Coroutine[Any, Any, T]]) -> T:
    """Run all side by side until one ends: its outcome is that of all, and the others are cancelled.

    Of those that end at the same time, the first in order counts.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_over(connection: Connection) -> None:
    await connection.over.wait()


async def _end(connection: Connection, ends: PumpOptions) -> LostError | None:
    """End our side, where that is to be passed on and when it can be; returns what went wrong."""
    try:
        await connection.end_of_script(ends.shutdown)
    except ClosedError:
        pass  # the peer's end was read meanwhile: what was queued is on its way (H3)
    except LostError as error:
        return error
    return None


async def _watch_idle(session: Session, limit_s: float) -> int:
    """End when nothing moves on an open connection for so long."""

    def moved() -> object:
        if session.connection is None or not session.connection.opened:
            return None  # connecting has its own deadline
        return session.connection, session.moved_bytes

    await until_idle(limit_s, moved)
    raise IdleTimeout(f"nothing moved for {limit_s:g} s")


async def _wait_reader_gone(stdout: Output) -> int:
    await stdout.reader_gone()
    raise BrokenPipeError


class _Lines:
    """Lines of an input, as they come. One ends with LF or CR LF; the last one need not."""

    def __init__(self, source: Input) -> None:
        self._source = source
        self._buffer = bytearray()
        self._searched = 0
        self._ended = False
        self._is_first = True  # has it to be seen whether there is a byte order mark?

    async def next(self) -> str | None:
        """Return the next line, or None at the end.

        Raises:
            CommandError: it is too long.
            StdinError: reading failed.
        """
        while (end := self._buffer.find(b"\n", self._searched)) < 0 and not self._ended:
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE_BYTES:
                break
            chunk = await self._source.read()
            self._buffer += chunk
            if self._is_first and len(self._buffer) >= len(BOM_UTF8):
                self._is_first = False
                if self._buffer.startswith(BOM_UTF8):  # an editor's mark, no text of the script's
                    del self._buffer[: len(BOM_UTF8)]
            self._ended = not chunk
        if not self._buffer:
            return None
        length = end if end >= 0 else len(self._buffer)
        if length > MAX_LINE_BYTES:
            raise CommandError("the line is longer than 1 MiB", ":file PATH sends what is large")
        line = bytes(self._buffer[:length]).removesuffix(b"\r" if end >= 0 else b"")
        del self._buffer[: length + 1]
        self._searched = 0
        return line.decode("utf-8", "surrogateescape")


class _ScriptFace:
    """stdout and stderr of a script; its end by time. `line`: the number of the one that is run, 0 behind the last."""

    session: Session | None = None

    def __init__(self, stdout: Output, shown: TerminalFilter | None, say: Say) -> None:
        self.line = 0
        self._limit_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._stdout = stdout
        self._shown = shown
        self._say = say
        self._broken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def show_received(self, data: bytes) -> None:
        await self._write(data if self._shown is None else self._shown.feed(data))

    async def finish(self) -> None:
        """Show what the filter has held back: half a character, a lone CR."""
        if self._shown is not None:
            await self._write(self._shown.feed(b"", final=True))

    def check(self) -> None:
        """Raise the failure of stdout, if there was one."""
        if self._broken.done():
            self._broken.result()

    async def wait_broken(self) -> int:
        """Wait for a failure of stdout, and raise it."""
        return await asyncio.shield(self._broken)

    async def _write(self, data: bytes) -> None:
        if self._broken.done():
            return
        try:
            await self._stdout.write(data)
        except (OSError, StdoutError) as error:
            self._broken.set_exception(error)

    def show_notice(self, text: str) -> None:
        self._say("".join(f"cfcat: {line}\n" for line in text.split("\n")))

    def show_error(self, message: Message) -> None:
        self._say(str(message))

    def show_text(self, text: str) -> None:
        self._say(f"{text}\n")

    def state_changed(self) -> None:
        if self._shown is not None and self.session is not None:
            self._shown.decode_as(self.session.settings.encoding)

    async def confirm(self, question: str) -> bool:
        return False

    async def ask_secret(self, prompt: str) -> str | None:
        if (secret := os.environ.get("CFCAT_SECRET")) is None:
            raise CommandError("there is no secret", "the environment has it: CFCAT_SECRET")
        return secret

    def end_within(self, seconds: float) -> bool:
        self.stop_clock()
        self._limit_s = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)
        return True

    def stop_clock(self) -> None:
        """There is no end by time any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        where = f"line {self.line}" if self.line else "the reading behind its last line"
        if not self._over.done():
            self._over.set_exception(ScriptTimeout(f":timeout {self._limit_s:g} is over, in {where}"))

    async def wait_over(self) -> int:
        """Wait for the end of the script's time, and raise it."""
        return await asyncio.shield(self._over)
