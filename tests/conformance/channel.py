"""One accepted connection of the scripted server: bytes in and out, plain or under TLS, and how they end.

Blocking, for a thread; every wait ends when the script is stopped. Under TLS the wire is read record by record, so
that what a step does not need stays unread in the kernel, as it does without TLS.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from typing import Literal

__all__ = ["Channel", "End", "Stop", "Stopped"]

End = Literal["eof", "reset", "close_notify", "tls_error"]

CHUNK_BYTES = 256 * 1024
RECORD_HEADER_BYTES = 5
RECORD_BYTES = 16 * 1024 + 256  # RFC 8446 §5.2: more is no TLS record
RECORD_TYPES = frozenset(range(20, 25))  # RFC 8446 §5.1, RFC 6520
LINGER_NONE = struct.pack("ii", 1, 0)  # close() sends RST


class Stopped(Exception):
    """The script was stopped while it waited."""


class Stop:
    """A flag that ends every wait of a thread: set once, from another thread."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()

    def set(self) -> None:
        with contextlib.suppress(OSError):
            self._there.send(b"x")

    def wait(self, sock: socket.socket | None, events: int = 0, deadline: float | None = None) -> bool:
        """Wait until the socket is ready for `events`; False at the deadline.

        Raises:
            Stopped: the flag is set.
        """
        poll = select.poll()
        poll.register(self._here, select.POLLIN)
        if sock is not None:
            poll.register(sock, events)
        timeout_ms = None if deadline is None else max(0.0, (deadline - time.monotonic()) * 1000)
        ready = [fd for fd, _ in poll.poll(timeout_ms)]
        if self._here.fileno() in ready:
            raise Stopped
        return bool(ready)

    def close(self) -> None:
        self._here.close()
        self._there.close()


class Channel:
    """A connection as the script sees it.

    `end` is how the client's bytes ended, None while they have not. What ended by reset or under TLS stays so; a
    plain end is asked of the kernel each time, as EOF may be followed by a reset.
    """

    def __init__(self, sock: socket.socket, stop: Stop) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._stop = stop
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._record = b""  # the part of a TLS record that has come
        self._was_reset = False
        self.end: End | None = None

    # ---- bytes

    def send(self, data: bytes) -> None:
        """Send it all, under TLS as application data; what the client does not take is lost."""
        with contextlib.suppress(OSError, ssl.SSLError):
            view = memoryview(data)
            while self._tls is not None and view:
                view = view[self._tls.write(view[:CHUNK_BYTES]) :]
                self._send_wire(self._outgoing.read())
            self._send_wire(view)

    def send_raw(self, data: bytes) -> None:
        """Put bytes on the wire as they are."""
        with contextlib.suppress(OSError):
            self._send_wire(data)

    def receive(self, limit: int, deadline: float | None = None) -> bytes:
        """Return 1 to `limit` bytes; b"" at an end, which `end` then names.

        Raises:
            Stopped: the script is stopped. TimeoutError: the deadline has passed.
        """
        if self._tls is not None:
            return self._receive_tls(self._tls, limit, deadline)
        data = self._receive_wire(limit, deadline)
        if data:
            self.end = None
        return data

    def receive_raw(self, limit: int, deadline: float) -> bytes:
        """As `receive`, of TCP itself."""
        return self._receive_wire(limit, deadline)

    def send_for(self, data: bytes, seconds: float) -> bool:
        """Send as much as goes within the time; was that all?

        Raises:
            Stopped: the script is stopped.
        """
        deadline = time.monotonic() + seconds
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view and self._stop.wait(self._sock, select.POLLOUT, deadline):
                with contextlib.suppress(BlockingIOError):
                    view = view[self._sock.send(view) :]
        return not view

    # ---- ends

    def shutdown_write(self) -> None:
        """Send a FIN, and under TLS nothing before it."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the TCP connection, and under TLS say nothing before."""
        self._sock.close()

    def reset(self) -> None:
        """Close the connection with a RST."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self._sock.close()

    def close_notify(self) -> None:
        """End our side under TLS; TCP stays open, and the client may go on sending."""
        if self._tls is None:
            return
        with contextlib.suppress(OSError, ssl.SSLError):
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:
                pass  # it would like to wait for the client's own close_notify
            self._send_wire(self._outgoing.read())

    # ---- TLS

    def handshake(self, context: ssl.SSLContext, server_name: str | None = None) -> bool:
        """Act as a TLS server from here on, or as the client of one; False when no handshake came about.

        Raises:
            Stopped: the script is stopped.
        """
        server_side = server_name is None
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                if not self._flush() or not self._feed(None):
                    return False
            except ssl.SSLError:
                self._flush()  # the alert
                return False
            else:
                self._tls = tls
                self._flush()
                return True

    def _receive_tls(self, tls: ssl.SSLObject, limit: int, deadline: float | None) -> bytes:
        while self.end is None:
            try:
                if data := tls.read(min(limit, CHUNK_BYTES)):
                    return data
                self.end = "close_notify"
            except ssl.SSLWantReadError:
                self._feed(deadline)
            except ssl.SSLZeroReturnError:  # how close_notify shows once we have sent ours
                self.end = "close_notify"
            except ssl.SSLError:
                self.end = "tls_error"
            self._flush()  # alerts, answers to KeyUpdate
        return b""

    def _feed(self, deadline: float | None) -> bool:
        """Give OpenSSL the next record of the wire, all of it or nothing; False at an end."""
        while (missing := _missing(self._record)) > 0:
            data = self._receive_wire(missing, deadline)
            if not data:
                return False
            self._record += data
        self._incoming.write(self._record)
        self._record = b""
        return True

    def _flush(self) -> bool:
        try:
            self._send_wire(self._outgoing.read())
        except OSError:
            return False
        return True

    # ---- the wire

    def _receive_wire(self, limit: int, deadline: float | None) -> bytes:
        if self._was_reset:
            return self._ended("reset")
        if not self._stop.wait(self._sock, select.POLLIN, deadline):
            raise TimeoutError
        try:
            data = self._sock.recv(min(limit, CHUNK_BYTES))
        except BlockingIOError:
            return self._receive_wire(limit, deadline)
        except OSError:
            self._was_reset = True
            return self._ended("reset")
        return data or self._ended("eof")

    def _ended(self, end: End) -> bytes:
        self.end = end
        return b""

    def _send_wire(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            self._stop.wait(self._sock, select.POLLOUT)
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                continue
            except ConnectionResetError:
                self._was_reset = True  # the failed send has used up the socket's error: recv() would say EOF
                raise


def _missing(record: bytes) -> int:
    """How many bytes complete the record, or its header; 0 when it is complete, or no TLS at all."""
    if len(record) < RECORD_HEADER_BYTES:
        return RECORD_HEADER_BYTES - len(record)
    size = int.from_bytes(record[3:5], "big")
    if record[0] not in RECORD_TYPES or size > RECORD_BYTES:
        return 0
    return RECORD_HEADER_BYTES + size - len(record)
