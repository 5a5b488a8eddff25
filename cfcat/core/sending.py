"""A connection's outgoing direction: the writable's queue to the kernel, and our end behind it.

It takes writes from the head of the queue, encodes them, and hands the result to the kernel as far as that has room.
What is to follow the last write (our EOF, an upgrade, the end) is decided by the lifecycle and begun here.

Source: rules W4, W6, V11, C2, O4; rows 19 and 20 of the fault matrix.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

from cfcat.core.codec import Buffer
from cfcat.core.transport import TURN_BYTES, Transport, lost_by
from cfcat.core.writable import WritableStream, Write
from cfcat.errors import SocketError

__all__ = ["Sending"]

NOTHING = memoryview(b"")


class Sending:
    """Sends what `writable` has queued.

    States of a byte: in the queue → encoded, in `_unsent` → taken by the kernel. A write all of whose bytes the kernel
    has is sent, but settled only in the next turn (`push`) or before the call returns (`push_now`).

    Invariants:
        - A chunk is encoded only when `_unsent` is empty, so one chunk's wire bytes are in memory at most.
        - `_sent_writes` counts the writes at the head of the queue that are sent and not yet settled.
        - `_follow` begins when queue and `_unsent` are empty, once; a later plan replaces an earlier one.
        - Once writes were dropped (`is_cut`), close_notify is never sent: the peer must not take a part for the whole.

    `WritableStream` calls `push`, `push_now` and `send_by`; `Socket` the flushes and `drop_unsent` (by way of `Wire`);
    `Receiving` calls `answer`; the event loop calls `_on_writable`.
    """

    def __init__(self, transport: Transport, writable: WritableStream, on_flushed: Callable[[], None]) -> None:
        self._transport = transport
        self._writable = writable
        self._on_flushed = on_flushed
        self._is_watching = False  # registered with the loop
        self._unsent = NOTHING  # wire bytes that the kernel has not taken
        self._sent_writes = 0  # writes already sent but not yet settled
        self._is_settling = False
        self._follow: Callable[[], None] | None = None  # to be done when the queue is empty
        self._planned: Callable[[], None] | None = None  # to become `_follow` in the next turn
        self.is_cut = False  # writes were dropped, under TLS perhaps in the middle of a record
        self._is_ending = False  # nothing is left to send but our own end

    # ---- writes

    def push(self) -> None:
        """Send what the kernel takes of the queue, which has changed; the rest when the kernel has room.

        Writes that are sent settle in the next turn: the statement after an un-awaited `write()` still finds them
        queued (O4, W7).
        """
        if self._transport.is_open and not self._is_watching:
            self._transmit()
            if not self._is_settling and (self._sent_writes or self._follow is not None):
                self._is_settling = True
                self._transport.loop.call_soon(self._settle)

    def push_now(self) -> None:
        """Like `push()`, but settles finished writes before it returns."""
        if self._transport.is_open and not self._is_watching:
            self._transmit()
        self.settle_writes()

    def send_by(self, move: Callable[[int], int]) -> int | None:
        """Let the kernel send, by splice() or sendfile(). Returns 0 at the source's EOF, None if these descriptors
        cannot be used so.

        A broken connection is told to `Transport.lose`, as in all sending.

        Raises:
            BlockingIOError: nothing there, or no room: queueing a write is the way to wait for that.
        """
        transport = self._transport
        if not (transport.can_join and transport.codec.clear_out and transport.is_open and transport.sock is not None):
            return None
        if self._unsent or self._writable.queue:
            raise BlockingIOError(errno.EAGAIN, "older bytes are to be sent first")
        try:
            size = move(transport.sock.fileno())
        except BlockingIOError:
            raise
        except OSError as error:
            transport.join_failed(error, sending=True)
            return None
        transport.sent_bytes += size
        return size

    def settle_writes(self) -> None:
        """Settle the writes whose bytes the kernel has (W4)."""
        if count := self._sent_writes:
            self._sent_writes = 0
            self._writable.sent(count)

    def drop_unsent(self) -> None:
        """Forget what the kernel has not taken. From now on there is no orderly end to send."""
        self.is_cut = True
        self._unsent = NOTHING
        if self._follow in (self._end, self._fin, self._shut_down):
            self._follow = None
        self.unwatch()  # nothing waits for room any more; what is to follow must not
        self.push()

    def answer(self) -> None:
        """Send what reading gave rise to (TLS alerts, KeyUpdate)."""
        try:
            answer = self._transport.codec.answer()
        except MemoryError as error:
            self._transport.lose(lost_by(error, sending=True))
            return
        if answer:
            self._put(answer)
            if not self._is_watching:
                self._transmit()

    @property
    def has_queued(self) -> bool:
        """Are there writes that would be lost with the connection?"""
        return bool(self._writable.queue)

    @property
    def has_ended(self) -> bool:
        """Is our end sent, and all before it?"""
        return self._is_ending and not self._unsent and not self._writable.queue

    def unwatch(self) -> None:
        """Leave the descriptor alone: it is closed, or another wire's from now on."""
        if self._is_watching and self._transport.sock is not None:
            self._transport.loop.remove_writer(self._transport.sock.fileno())
        self._is_watching = False

    # ---- what follows the last write; each is one effect of the lifecycle, and ends with the event FLUSHED

    def flush_then_end(self) -> None:
        """Send what is queued, then our EOF: close_notify alone under TLS, else a FIN."""
        self._when_empty(self._end)

    def flush_then_fin(self) -> None:
        """Send what is queued, then TCP's FIN; close_notify may have gone before, and does not come any more."""
        self.is_cut = True
        self._when_empty(self._shut_down)

    def flush_then_close_notify(self) -> None:
        """From the next turn on, send what is queued and under TLS close_notify (V11)."""
        self._plan(self._end_and_leave)

    def flush(self) -> None:
        """From the next turn on, send what is queued."""
        self._plan(self._on_flushed)

    def _plan(self, follow: Callable[[], None]) -> None:
        """Change the planned next step. It begins in the next turn, so that calls made right after this one can still
        change it."""
        self._follow = None
        self._planned = follow
        self._transport.loop.call_soon(self._begin_planned, follow)

    def _begin_planned(self, follow: Callable[[], None]) -> None:
        if self._planned is follow:
            self._when_empty(follow)

    def _when_empty(self, follow: Callable[[], None]) -> None:
        self._planned = None
        self._follow = follow
        self.push()

    def _end(self) -> None:
        self._put_end()
        self._when_empty(self._fin)

    def _end_and_leave(self) -> None:
        self._put_end()
        self._when_empty(self._leave)

    def _leave(self) -> None:
        if self._transport.resets_at_close:
            self._transport.linger(self._on_flushed)
        else:
            self._on_flushed()

    def _put_end(self) -> None:
        self._is_ending = True
        if not self.is_cut:
            try:
                self._put(self._transport.codec.end())
            except MemoryError as error:
                self._transport.lose(lost_by(error, sending=True))
            self._transport.wake_reader()

    def _fin(self) -> None:
        if self._transport.codec.ends_with_fin:
            self._shut_down()
        else:
            self._on_flushed()

    def _shut_down(self) -> None:
        self._is_ending = True
        if self._transport.sock is not None:
            # Row 19: shutdown() fails if the peer has reset. We lost no data; later reads show if the peer's data was
            # lost.
            with contextlib.suppress(OSError):
                self._transport.sock.shutdown(socket.SHUT_WR)
        self._on_flushed()

    # ---- to the kernel

    def _put(self, data: Buffer) -> None:
        if data:
            self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)

    def _on_writable(self) -> None:
        self._transmit()
        self._settle()

    def _transmit(self) -> None:
        """Hand to the kernel what it takes; watch for room if that is not all."""
        transport = self._transport
        try:
            all_sent = self._send_some()
        except SocketError as error:
            transport.lose(error)
        except (OSError, MemoryError) as error:
            if self._is_ending and (transport.peer_has_ended or transport.codec.reset_is_eof):
                # Row 19: nothing is lost, and nobody waits for our end.
                self._unsent = NOTHING
                self.unwatch()
            else:
                transport.lose(lost_by(error, sending=True))
        else:
            if all_sent:
                if self._is_watching:
                    self.unwatch()
            elif transport.sock is not None and not self._is_watching:
                self._is_watching = True
                transport.loop.add_writer(transport.sock.fileno(), self._on_writable)

    def _send_some(self) -> bool:
        """Send until all is sent (True), or the kernel is full or this turn is used up (False)."""
        transport = self._transport
        queue = self._writable.queue
        moved = 0
        while (sock := transport.sock) is not None:
            if not self._unsent:
                if self._sent_writes == len(queue) or not transport.is_open:
                    return True
                if moved >= TURN_BYTES:
                    return False
                self._encode(queue[self._sent_writes])
            if transport.notes_arrivals:
                transport.about_to_send()
            try:
                count = sock.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return False
            moved += count
            transport.sent_bytes += count
            if count < len(self._unsent):
                self._unsent = self._unsent[count:]
            else:
                self._unsent = NOTHING
                if self._sent_writes < len(queue) and not queue[self._sent_writes].data:
                    self._sent_writes += 1
        return True

    def _encode(self, write: Write) -> None:
        """Take the next bytes of a write."""
        codec = self._transport.codec
        if codec.clear_out:
            self._unsent, write.data = write.data, NOTHING
        else:
            wire_bytes, taken = codec.encode(write.data)
            write.data = write.data[taken:]
            self._unsent = memoryview(wire_bytes)

    def _settle(self) -> None:
        """Settle the writes that are sent; begin what follows when nothing is left to send."""
        self._is_settling = True  # what follows may push, and is settled here
        self.settle_writes()
        while self._follow is not None and self._is_idle:
            follow, self._follow = self._follow, None
            follow()
            self.settle_writes()
        self._is_settling = False

    @property
    def _is_idle(self) -> bool:
        return self._transport.sock is not None and not self._unsent and not self._writable.queue
