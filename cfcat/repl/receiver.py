"""The one task that reads from a socket for a session, and how it is stopped without losing a byte."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cfcat.core.readable import ReadableStream

__all__ = ["Receiver"]


class Receiver:
    """Reads a stream; starts when the previous receiver has stopped.

    `take` gets each chunk, and nothing more is read before it returns; `end` is told of the end, with None for an EOF.
    """

    def __init__(
        self,
        stream: ReadableStream,
        take: Callable[[bytes], Awaitable[None]],
        end: Callable[[BaseException | None], Awaitable[None]],
        before: Receiver | None,
    ) -> None:
        self._take = take
        self._end = end
        self._stopping = False
        self._waits_for_peer = False
        self._task = asyncio.create_task(self._run(stream, before), name="cfcat-receiver")

    @property
    def is_stalled(self) -> bool:
        """Has a chunk been read that is still being taken?"""
        return not self._waits_for_peer

    async def stop(self) -> None:
        """Stop reading; returns when the stream is free.

        A chunk that has been read is taken first, what was not read stays with the stream. Cancelling the wait does
        not undo the stop.
        """
        self._stopping = True
        if self._waits_for_peer:
            self._task.cancel()
        await asyncio.wait({self._task})

    async def drop(self) -> None:
        """Stop at once: a chunk that is being taken may be lost."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, stream: ReadableStream, before: Receiver | None) -> None:
        if before is not None:
            await asyncio.wait({before._task})
        error: BaseException | None = None
        reader = stream.get_reader()
        try:
            while not self._stopping:
                self._waits_for_peer = True
                chunk = await reader.read()
                self._waits_for_peer = False
                if not chunk:
                    break
                await self._take(chunk)
            else:
                return
        except Exception as failure:
            error = failure
        finally:
            self._waits_for_peer = False
            reader.release_lock()
        await self._end(error)
