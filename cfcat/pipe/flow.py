"""One direction of pipe mode: from a source to a sink, as fast as both allow.

Nothing here waits: a flow tries, and where either side has nothing to give or no room, it asks to be called back.
So a chunk that the kernel has ready, and has room for, costs no future, no task and no turn of the loop; and yet
other callbacks get their turns. One chunk is on its way at a time: a slow sink slows the source.

Where both sides are descriptors that the kernel can join (`joined`), the bytes never come into this process. The rest
of the program does not notice which way was used, and the ordinary way is taken whenever the short one does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from cfcat.core.codec import Buffer
from cfcat.core.loop import Handle, running_loop
from cfcat.core.promise import Promise
from cfcat.core.readable import ReadableStream
from cfcat.core.writable import WritableStream
from cfcat.edges.descriptors import NOTHING, Callback
from cfcat.edges.stdin import READ_BYTES

__all__ = ["Flow", "PeerSink", "PeerSource"]

# What is moved in one turn before other callbacks of the loop get theirs: some 4 MiB, or 1 MiB joined; a millisecond.
TURN_CHUNKS = 16
FIRST_BYTES = 32 * 1024  # of a buffer, which doubles when it is full, up to READ_BYTES
# A short read means that the source is drained: wait instead of trying again.
SMALL_BYTES = 16 * 1024


class Source(Protocol):
    """Where bytes come from, as `stdin.Input` has it."""

    def take(self, limit: int = READ_BYTES) -> memoryview | None: ...
    def watch(self, callback: Callback) -> bool: ...
    def unwatch(self) -> None: ...


class Sink(Protocol):
    """Where bytes go to, as `stdout.Output` has it."""

    def give(self, chunk: Buffer = NOTHING) -> bool: ...
    def watch(self, callback: Callback) -> None: ...
    def unwatch(self) -> None: ...
    def is_full(self) -> bool: ...


class PeerSource:
    """The peer's bytes. The caller holds the lock of the stream.

    A source that says little has a small buffer: a tap has two for each of its clients.
    """

    def __init__(self, readable: ReadableStream) -> None:
        self._readable = readable
        self._buffer = memoryview(bytearray(FIRST_BYTES))

    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        buffer = self._buffer
        size = self._readable.take_into(buffer[:limit])
        if size == len(buffer) < READ_BYTES:
            with suppress(MemoryError):  # then it stays as it is
                self._buffer = memoryview(bytearray(2 * size))  # the old one is the chunk's
        return None if size is None else buffer[:size]

    def watch(self, callback: Callback) -> bool:
        self._readable.watch(callback)
        return True

    def unwatch(self) -> None:
        self._readable.watch(None)


class PeerSink:
    """Bytes for the peer. The caller holds the lock of the stream."""

    def __init__(self, writable: WritableStream) -> None:
        self._writable = writable
        self._pending: Promise[None] | None = None

    def give(self, chunk: Buffer = NOTHING) -> bool:
        if self._pending is not None and self._pending.done():
            pending, self._pending = self._pending, None
            pending.result()
        if chunk:
            self._pending = self._writable.offer(memoryview(chunk))
        return self._pending is None

    def watch(self, callback: Callback) -> None:
        if self._pending is not None:
            self._pending.add_done_callback(lambda _: callback())

    def unwatch(self) -> None:
        """A late callback is harmless."""

    def is_full(self) -> bool:
        return False  # what it has no room for is queued, as any other write


class Flow:
    """One direction. `moved_bytes` counts what has gone into the sink, or is about to.

    `through` sees each chunk and returns what goes into the sink. `joined` moves the next bytes within the kernel:
    returns a count, 0 at EOF, None if impossible; raises BlockingIOError if not possible now. The attribute may be set
    later.
    """

    def __init__(self, source: Source, sink: Sink, through: Callable[[memoryview], Buffer] | None = None) -> None:
        self.joined: Callable[[], int | None] | None = None
        self.moved_bytes = 0
        self._loop = running_loop()
        self._source = source
        self._sink = sink
        self._through = through
        self._is_watching = False  # the source calls back until it is unwatched
        self._has_waited = False  # for room, and nothing was moved since: then room is not what is missing
        self._full = False  # the sink has a chunk to get rid of, or no room
        self._next_turn: Handle | None = None
        self._over: Promise[None] | None = None

    @property
    def is_stalled(self) -> bool:
        """Does a chunk, or the source, wait for room in the sink?"""
        return self._full

    async def run(self) -> None:
        """Move everything up to EOF. Raises what the source and the sink raise, all before it having been moved."""
        self._over = Promise(self._loop)
        self._step()
        try:
            await self._over
        finally:
            self._over.resolve(None)
            self._unwatch_source()
            self._sink.unwatch()
            if self._next_turn is not None:
                self._next_turn.cancel()

    def _step(self) -> None:
        """Move what can be moved in this turn, and see to it that there is another."""
        if self._over is None or self._over.done():
            return
        try:
            if self._full and not self._has_room():
                return
            for _ in range(TURN_CHUNKS):
                size = self._move()
                if size is None:
                    return
                if size == 0:
                    self._over.resolve(None)
                    return
        except Exception as error:
            self._over.reject(error)
        else:
            if self._next_turn is None:
                self._next_turn = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next_turn = None
        self._step()

    def _move(self) -> int | None:
        """Move one chunk: its size, 0 at EOF, None when somebody has to be waited for."""
        limit = READ_BYTES
        if self.joined is not None:
            try:
                size = self.joined()
            except BlockingIOError:
                if not self._has_waited and self._sink.is_full():
                    self._wait_for_room()
                    return None
                # Nothing there, or no room for it at the peer: read this much the ordinary way, so that it waits in the
                # queue.
                limit = SMALL_BYTES
            else:
                if size is not None:
                    self._has_waited = False
                    return self._joined(size)
                self.joined = None
        chunk = self._source.take(limit)
        if chunk is None:
            self._watch_source()
            return None
        if not chunk:
            return 0
        self._has_waited = False
        data = chunk if self._through is None else self._through(chunk)
        self.moved_bytes += len(data)
        if self._sink.give(data):
            return len(chunk)
        self._wait_for_room()
        return None

    def _joined(self, size: int) -> int | None:
        self.moved_bytes += size
        if 0 < size < SMALL_BYTES:
            self._watch_source()
            return None
        return size

    def _watch_source(self) -> None:
        if not self._is_watching:
            self._is_watching = self._source.watch(self._step)

    def _unwatch_source(self) -> None:
        self._is_watching = False
        self._source.unwatch()

    def _has_room(self) -> bool:
        if not self._sink.give():
            self._sink.watch(self._step)
            return False
        self._full, self._has_waited = False, True
        self._sink.unwatch()
        return True

    def _wait_for_room(self) -> None:
        self._full = True
        self._unwatch_source()
        self._sink.watch(self._step)
