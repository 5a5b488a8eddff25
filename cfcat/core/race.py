"""From several addresses to one connected socket: they are tried side by side, and the first connection wins.

Source: RFC 8305 ("Happy Eyeballs": a new attempt every 250 ms, or at once when one has failed); rule N8. How an
address is connected to is the caller's, and so is the deadline.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cfcat.core.address import format_address
from cfcat.core.job import Job
from cfcat.core.loop import running_loop
from cfcat.core.promise import Promise
from cfcat.core.waiting import settled
from cfcat.errors import Attempt, SocketError, without_frames

if TYPE_CHECKING:
    from cfcat.core.layers import Outer
    from cfcat.record.making import Outcome, Trace

__all__ = ["Address", "Dialed", "Reach", "race"]

ATTEMPT_DELAY_S = 0.25  # RFC 8305 §5, "Connection Attempt Delay"


class Address(NamedTuple):
    """One resolved address: `sockaddr` is what `socket.connect` takes."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]

    @property
    def ip(self) -> str:
        return str(self.sockaddr[0])

    @property
    def text(self) -> str:
        return format_address(self.ip, int(self.sockaddr[1]))


class Dialed(NamedTuple):
    """A connected, non-blocking socket, and how long its own attempt took: about one round trip.

    `outer`: the TLS of a proxy, through which everything goes; None: what is sent goes out as it is.
    """

    sock: socket.socket
    round_trip_s: float
    outer: Outer | None = None


_Attempt = Job[Dialed | None]
# Makes a connection to one address. It raises OSError where that address fails, and another one may do; SocketError
# where all would.
Reach = Callable[[Address], Coroutine[Any, Any, Dialed]]


async def race(addresses: Sequence[Address], reach: Reach, trace: Trace | None) -> tuple[Dialed | None, list[Attempt]]:
    """Reach all addresses, each begun a little after the one before; return the first connection, or None and what
    became of each address. Raises SocketError as `reach`."""
    attempts: dict[Address, Attempt] = {}
    running: list[_Attempt] = []
    try:
        winner = await _Race(addresses, reach, trace, attempts).first(running)
    finally:
        for attempt in running:
            _abandon(attempt)
    return winner, [] if winner is not None else [attempts[address] for address in addresses]


class _Race:
    """Attempts to all addresses. What becomes of those that fail is put into `attempts`."""

    def __init__(
        self, addresses: Sequence[Address], reach: Reach, trace: Trace | None, attempts: dict[Address, Attempt]
    ) -> None:
        self._reach = reach
        self._trace = trace
        self._addresses = list(addresses)
        self._attempts = attempts

    async def first(self, running: list[_Attempt]) -> Dialed | None:
        """Begin one attempt after the other; what is in `running` still owns its socket."""
        if len(self._addresses) == 1:  # nothing to race with
            return await self._try(self._addresses[0])
        waiting, loop = list(self._addresses), running_loop()
        while waiting or running:
            if waiting:
                running.append(Job(loop, self._try(waiting.pop(0))))
            await settled(running, ATTEMPT_DELAY_S if waiting else None)
            for attempt in [each for each in running if each.done()]:
                running.remove(attempt)
                if (dialed := attempt.result()) is not None:
                    return dialed
        return None

    async def _try(self, address: Address) -> Dialed | None:
        began = time.monotonic()
        outcome: Outcome = "abandoned"
        failure: OSError | None = None
        try:
            dialed = await self._reach(address)
            outcome = "connected"
            return dialed
        except OSError as error:
            if isinstance(error, SocketError):
                raise
            without_frames(error)  # its traceback refers to this frame, and this frame to the error
            outcome, failure = "failed", error
            self._attempts[address] = Attempt(address.text, error, time.monotonic() - began)
            return None
        finally:
            if self._trace is not None:
                from cfcat.record.making import Attempted  # lazy: most runs tell nobody

                self._trace(Attempted(address.text, outcome, failure, time.monotonic() - began))


def _abandon(attempt: _Attempt) -> None:
    if attempt.done():
        _close_result(attempt)
    else:
        attempt.cancel()
        attempt.add_done_callback(_close_result)  # it has connected all the same, where it was running


def _close_result(attempt: Promise[Dialed | None]) -> None:
    if not attempt.cancelled() and (dialed := attempt.result()) is not None:
        dialed.sock.close()
