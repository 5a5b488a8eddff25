"""One side of a recorded connection, played on a socket.

What this side said is sent when what the other had said before has come; and what comes is compared with what was
recorded. The first difference ends it. Ends are sent as they were, FIN, close_notify or a reset.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from cfcat.core.sockets import Socket
from cfcat.core.waiting import in_time, settled, while_moving
from cfcat.edges.search import without
from cfcat.errors import ClosedError, ConnectTimeout, DifferenceError, LostError, SocketError, TlsError
from cfcat.protocols.wrapper import HandshakeWrapper
from cfcat.record.comparing import Comparison, Difference, diff_lines, fits
from cfcat.record.events import Moved, Moving, Stopped
from cfcat.record.replaying import Ended, Recorded, Said, Secured, Step, other
from cfcat.record.sides import Side, SideEnd
from cfcat.record.subscribers import Subscribers
from cfcat.replaying.hearing import Hearing
from cfcat.report.render import escape
from cfcat.tap.side import reset_behind

if TYPE_CHECKING:
    import ssl

__all__ = ["WAIT_S", "Player", "Rules"]

WAIT_S = 10.0  # as long as most tests want to wait, and longer than a busy server takes
PAUSE_S = 0.2  # who has said half a line, and nothing for so long, has said it
PIECE_BYTES = 64 * 1024
CONTEXT_LINES = 2
BREAKS = ("reset", "broken")


class Rules(NamedTuple):
    """How strict a replay is. `name`: the transcript's. `ignored`: what may differ. `wait_s`: for what is to come."""

    name: str
    ignored: Sequence[re.Pattern[bytes]] = ()
    wait_s: float = WAIT_S


class Player:
    """Plays `side` of a connection on a socket that is open; tells `events` of the bytes that move.

    `context`: for where TLS begins; None: the socket's own.
    """

    def __init__(
        self,
        socket: Socket,
        recorded: Recorded,
        side: Side,
        rules: Rules,
        events: Subscribers,
        context: ssl.SSLContext | None,
        *,
        handshake_s: float,
    ) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        self._socket = socket
        self._recorded = recorded
        self._side: Side = side
        self._peer: Side = other(side)
        self._rules = rules
        self._events = events
        self._context = context
        self._handshake_s = handshake_s
        self._has_broken = False  # by us, as recorded

    async def run(self) -> None:
        """Play it to its end, and close the connection.

        Raises:
            DifferenceError: the peer did something else than was recorded.
            TlsError, CertificateError, InjectionError, LostError, ConnectTimeout: a handshake failed.
        """
        self._events.tell(Moving(self))
        self._attach()
        try:
            for step in self._recorded.steps:
                await self._play(step)
                if self._has_broken:
                    return
            await self._finish()
        except BaseException:
            self._socket.latest.abort()
            raise
        finally:
            self._events.tell(Stopped(self.sent_bytes, self.received_bytes))

    def _attach(self) -> None:
        self._hearing = Hearing(self._socket, self._heard)
        self._writer = self._socket.writable.get_writer()

    @property
    def _is_secure(self) -> bool:
        return self._socket.secure_transport == "on"

    def _heard(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._events.tell(Moved("received", data, self._is_secure))

    async def _play(self, step: Step) -> None:
        if isinstance(step, Said):
            await (self._say(step) if step.side == self._side else self._expect(step))
        elif isinstance(step, Secured):
            if step.side in (None, self._peer) and not self._is_secure:
                await self._secure(step)
        elif step.side == self._side:
            await self._end(step.how)
        elif step.how != "fin":  # that comes behind close_notify
            await self._expect_end(step)

    # ---- what we do

    async def _say(self, step: Said) -> None:
        for start in range(0, len(step.data), PIECE_BYTES):
            piece = bytes(step.data[start : start + PIECE_BYTES])
            written = self._writer.write(piece)
            self._events.tell(Moved("sent", piece, self._is_secure))
            await settled([written], self._rules.wait_s)
            if not written.done():
                self._differs(
                    step.line_of(start), f"the {self._peer} took nothing more within {self._rules.wait_s:g} s"
                )
            try:
                written.result()
            except (LostError, TlsError, ClosedError) as error:
                self._differs(step.line_of(start), f"the {self._peer} was gone ({_reason(error)})")
            self.sent_bytes += len(piece)

    async def _secure(self, step: Secured) -> None:
        rest = self._hearing.stop()
        self._writer.release_lock()
        if rest and self._side == "client":
            self._differs(step.line, "more came before TLS", Difference(step.line, b"", rest))
        self._socket.readable.give_back(rest)  # a ClientHello may come right behind
        wrapper = HandshakeWrapper(self._peer) if step.wrapped else None
        self._socket = self._socket.start_tls(tls=self._context, wrapper=wrapper)
        try:
            await in_time(self._handshake_s, self._opened())
        except TimeoutError as error:
            if isinstance(error, ConnectTimeout):
                raise
            text = f"{self._socket.peer}: the TLS handshake was not complete after {self._handshake_s:g} s"
            raise ConnectTimeout(text, text) from error
        self._attach()

    async def _opened(self) -> None:
        await self._socket.opened

    async def _end(self, how: SideEnd) -> None:
        if how in BREAKS or (how == "cut" and not self._is_secure):
            await self._break()
        elif how in ("cut", "fin"):
            if not self._socket.over.done():
                self._socket.pass_fin()
        else:
            closed = self._writer.close()
            await settled([closed], self._rules.wait_s)
            if how == "end" and self._is_secure and self._side == "server" and not self._socket.over.done():
                self._socket.pass_fin()  # rule I38

    async def _break(self) -> None:
        """Reset the connection, behind all that was said."""
        self._has_broken = True
        await reset_behind(self._socket)

    # ---- what the peer does

    async def _expect(self, step: Said) -> None:
        hearing = self._hearing
        comparison = Comparison(step, may_ignore=bool(self._rules.ignored))
        why = f"the {self._peer} said something else"
        while not comparison.is_done:
            data = bytes(hearing.data)
            hearing.data.clear()
            comparison.feed(data)
            while comparison.doubt is not None:
                comparison.answer(await self._are_alike(*comparison.doubt))
            if comparison.difference is not None:
                self._differs(comparison.difference.line, why, comparison.difference)
            if comparison.is_done or hearing.data:
                continue
            if hearing.has_ended:
                why = self._how_it_ended()
                comparison.stop()
            elif not await hearing.news(PAUSE_S if comparison.waits_for_pause else self._rules.wait_s):
                if comparison.waits_for_pause:
                    comparison.pause()
                else:
                    why = f"the {self._peer} said nothing more within {self._rules.wait_s:g} s"
                    comparison.stop()
        hearing.data[:0] = comparison.rest

    async def _are_alike(self, recorded: bytes, received: bytes) -> bool:
        """Are these lines the same, but for what may differ?"""
        work = without(self._socket.loop, self._rules.ignored, (recorded, received))
        try:
            recorded, received = await in_time(self._rules.wait_s, work)
        except TimeoutError:
            return False
        return fits(recorded, received)

    async def _expect_end(self, step: Ended) -> None:
        hearing = self._hearing
        if not hearing.data:
            await hearing.news(self._rules.wait_s)
        self._check_rest(step.line)
        if not hearing.has_ended:
            self._differs(step.line, f"the {self._peer} did not end within {self._rules.wait_s:g} s")
        if self._side == "server" or step.how in BREAKS:
            return  # a client that closes without reading all resets or not, as it happens
        is_cut = self._socket.was_cut and not self._recorded.ignores_cuts
        if hearing.error is not None or (is_cut and step.how != "cut"):
            self._differs(step.line, self._how_it_ended())

    def _how_it_ended(self) -> str:
        if self._hearing.error is not None:
            return f"the {self._peer} was gone ({_reason(self._hearing.error)})"
        return f"the {self._peer} ended" + (" without close_notify" if self._socket.was_cut else "")

    def _check_rest(self, line: int) -> None:
        if self._hearing.data:
            difference = Difference(line, b"", bytes(self._hearing.data))
            self._differs(line, f"the {self._peer} said more", difference)

    async def _finish(self) -> None:
        """All was played. A server waits for the client's end, if that was not recorded; who dials just ends."""
        ends = [step.side for step in self._recorded.steps if isinstance(step, Ended)]
        if self._side == "server" and self._peer not in ends and not self._hearing.data:
            await self._hearing.news(self._rules.wait_s)
        self._check_rest(0)
        if not await while_moving(self._socket.close(), lambda: self._socket.moved_bytes):
            self._socket.abort()

    def _differs(self, line: int, why: str, difference: Difference | None = None) -> NoReturn:
        """`line` of the transcript is where it went another way; 0: behind its end."""
        place = f"{escape(self._rules.name)}, line {line}" if line else f"behind the end of {escape(self._rules.name)}"
        marks = {self._side: ">", self._peer: "<"}
        before = [(marks[side], data) for side, data in self._recorded.before(line or 1 << 62, CONTEXT_LINES)]
        lines = diff_lines(difference, before, marks[self._peer]) if difference is not None else []
        error = DifferenceError(f"not as in {place}: {why}", "\n".join(lines))
        if self._side == "server":
            error.client = self._socket.peer
        raise error


def _reason(error: SocketError) -> str:
    return escape(error.detail or error.message)
