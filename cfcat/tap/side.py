"""A side of a tapped connection: its socket, the locks of its streams, and the ends that are passed on to it."""

from __future__ import annotations

import contextlib

from cfcat.core.lifecycle import Writing
from cfcat.core.sockets import Socket
from cfcat.core.waiting import STALL_S, sleep
from cfcat.errors import ClosedError, LostError
from cfcat.record.sides import Side

__all__ = ["TapSide", "reset_behind"]

DRAIN_LOOK_S = 0.01  # the kernel tells nobody when what was sent has arrived


class TapSide:
    """A side of the connection, with the locks of its streams; they are free when the block ends.

    `had_bytes`: how much had been said to it when it ended what it says in order; None before that. `has_left`: the
    connection has ended, too.
    """

    def __init__(self, name: Side, socket: Socket) -> None:
        self.name = name
        self.socket = socket
        self.had_bytes: int | None = None
        self.has_left = False

    def __enter__(self) -> TapSide:
        self._reader = self.socket.readable.get_reader()
        self.writer = self.socket.writable.get_writer()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.release_lock()
        self.writer.release_lock()

    @property
    def is_secure(self) -> bool:
        return self.socket.secure_transport == "on"

    @property
    def is_broken(self) -> bool:
        return self.socket.writing is Writing.FAILED

    async def end(self) -> None:
        """Send our EOF, FIN or close_notify, unless the side is gone, which its own flow tells."""
        with contextlib.suppress(ClosedError, LostError):
            await self.writer.close()

    def send_fin(self) -> None:
        """Send TCP's FIN, unless all is over."""
        if not self.socket.over.done():
            self.socket.pass_fin()

    async def reset(self) -> None:
        """Reset the connection, behind all that was written."""
        await reset_behind(self.socket)


async def reset_behind(socket: Socket) -> None:
    """Reset a connection when the peer's kernel has all that was written, as long as it takes some of it."""
    left, stalled_s = socket.unsent_bytes, 0.0
    while left and stalled_s < STALL_S and not socket.over.done():
        await sleep(DRAIN_LOOK_S)
        now = socket.unsent_bytes
        stalled_s = stalled_s + DRAIN_LOOK_S if now == left else 0.0
        left = now
    socket.abort()
