"""Connecting again and again until the peer is ready (`--wait`), and a connection without data (`--check`).

stdin is not read here.
"""

from __future__ import annotations

from cfcat.core.options import SocketOptions, connecting
from cfcat.core.ready import keep_trying, stay
from cfcat.core.sockets import Socket, connect
from cfcat.core.waiting import while_moving
from cfcat.errors import EarlyEndError, SocketError
from cfcat.pipe.run import Upgrading, open_socket
from cfcat.record.events import Moved, Moving, PeerEnded, Stopped
from cfcat.record.held import Attempts
from cfcat.record.subscribers import Subscribers
from cfcat.report.messages import explain

__all__ = ["check", "open_ready"]


async def open_ready(
    target: str, options: SocketOptions, events: Subscribers, upgrading: Upgrading, wait_s: float
) -> Socket:
    """Try for so long to open a connection that does not end at once; `events` are told of the last attempt.

    Raises:
        SocketError: as `keep_trying()`.
    """
    return await _try(_Attempt(target, options, upgrading), events, wait_s)


async def check(
    target: str, options: SocketOptions, events: Subscribers, upgrading: Upgrading, wait_s: float | None
) -> None:
    """Connect, see that the connection stays for a moment, and end it in order. `wait_s`: try so long; None: once.

    Raises:
        SocketError: as `Socket.opened`, `open_upgraded()` and `stay()`.
    """
    protocol = upgrading.protocol
    events.tell(connecting(target, options, None if protocol is None else protocol.name))
    attempt = _Check(target, options, upgrading)
    socket = await attempt.make(events) if wait_s is None else await _try(attempt, events, wait_s)
    await while_moving(socket.close(), lambda: socket.moved_bytes)
    socket.abort()


async def _try(attempt: _Attempt, events: Subscribers, wait_s: float) -> Socket:
    attempts = Attempts(events)
    try:
        socket = await keep_trying(
            lambda: attempt.make(attempts.begin()),
            wait_s,
            attempt.target,
            failed=lambda error: attempts.failed(explain(error, attempt.target).text),
        )
    except SocketError:
        attempts.gave_up()
        raise
    attempts.succeeded()
    return socket


class _Attempt:
    """How a connection is made, each time."""

    def __init__(self, target: str, options: SocketOptions, upgrading: Upgrading) -> None:
        self.target = target
        self._options = options
        self._upgrading = upgrading

    async def make(self, events: Subscribers) -> Socket:
        """One attempt, of which `events` are told."""
        options = self._options._replace(trace=events.trace)
        socket = await open_socket(connect(self.target, options), self.target, options, events, self._upgrading)
        try:
            await self._watch(socket, events)
        except BaseException:
            socket.abort()
            raise
        return socket

    async def _watch(self, socket: Socket, events: Subscribers) -> None:
        await stay(socket)


class _Check(_Attempt):
    """What comes meanwhile is told, and not kept. It counts what has come, for a report."""

    sent_bytes = 0
    received_bytes = 0

    async def _watch(self, socket: Socket, events: Subscribers) -> None:
        self.received_bytes = 0

        def heard(chunk: bytes) -> None:
            self.received_bytes += len(chunk)
            events.tell(Moved("received", chunk, socket.secure_transport == "on"))

        events.tell(Moving(self))
        try:
            await stay(socket, heard=heard)
        except EarlyEndError as error:
            if error.__cause__ is None:
                events.tell(PeerEnded(self.received_bytes))
            raise
        finally:
            events.tell(Stopped(0, self.received_bytes))
