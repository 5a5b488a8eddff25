"""What a side of a replay hears: read as it comes, so that neither side waits for the other to read."""

from __future__ import annotations

from collections.abc import Callable

from cfcat.core.job import Job
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket
from cfcat.core.waiting import settled
from cfcat.errors import SocketError
from cfcat.record.recording import MAX_BYTES

__all__ = ["Hearing"]


class Hearing:
    """`data`: what has come, and is the caller's to take from. `has_ended`: nothing more will; `error`: why, or None.

    `heard` is told each chunk. No more is kept than a recording can have.
    """

    def __init__(self, socket: Socket, heard: Callable[[bytes], object]) -> None:
        self.data = bytearray()
        self.has_ended = False
        self.error: SocketError | None = None
        self._heard = heard
        self._loop = socket.loop
        self._reader = socket.readable.get_reader()
        self._news: Promise[None] = Promise(self._loop)
        self._job = Job(self._loop, self._read())

    async def _read(self) -> None:
        try:
            while len(self.data) <= MAX_BYTES and (chunk := await self._reader.read()):
                self._heard(chunk)
                self.data += chunk
                self._tell()
        except SocketError as error:
            self.error = error
        self.has_ended = True
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, Promise(self._loop)
        news.resolve(None)

    async def news(self, within_s: float) -> bool:
        """Wait for more, or for the end; False: neither came in this time."""
        news = self._news
        if not self.has_ended:
            await settled([news], within_s)
        return news.done()

    def stop(self) -> bytes:
        """Read no more; what has come and nobody took."""
        self._job.cancel()
        self._reader.release_lock()
        rest = bytes(self.data)
        self.data.clear()
        return rest
