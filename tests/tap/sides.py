"""A side of a connection in the hands of a test: clear text or TLS, and each end by itself.

Python's `ssl` sockets cannot send close_notify without waiting, or tell a FIN behind it from one without it.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from typing import Literal

__all__ = ["Heard", "Side", "both_secure"]

DEADLINE_S = 20.0
Heard = Literal["fin", "close_notify", "reset"]


class Side:
    """One end. `hear()` gives what came, an item each: bytes, or how it ended."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE_S)
        self.sock = sock
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._has_close_notify = False

    def secure(self, context: ssl.SSLContext, name: str | None = None) -> None:
        """Do the handshake: with a name as the client, without one as the server."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=name is None, server_hostname=name)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                assert data, "ended in the handshake"
                self._incoming.write(data)
            except ssl.SSLError:
                self._flush()
                raise
        self._flush()

    @property
    def alpn(self) -> str | None:
        assert self._tls is not None
        return self._tls.selected_alpn_protocol()

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self.sock.sendall(data)

    # ---- what it does

    def send(self, data: bytes) -> None:
        if self._tls is None:
            self.sock.sendall(data)
            return
        for start in range(0, len(data), 16384):
            self._tls.write(data[start : start + 16384])
            self._flush()

    def send_raw(self, data: bytes) -> None:
        """Past TLS."""
        self.sock.sendall(data)

    def close_notify(self) -> None:
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()

    def fin(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    # ---- what it hears

    def hear(self) -> bytes | Heard:
        """The next that comes."""
        if self._tls is not None and not self._has_close_notify:
            return self._hear_tls(self._tls)
        return self._hear_wire()

    def _hear_wire(self) -> bytes | Heard:
        try:
            return self.sock.recv(65536) or "fin"
        except ConnectionResetError:
            return "reset"

    def _hear_tls(self, tls: ssl.SSLObject) -> bytes | Heard:
        while True:
            try:
                data = tls.read(65536)
            except ssl.SSLWantReadError:
                came = self._hear_wire()
                if isinstance(came, str):
                    return came
                self._incoming.write(came)
                continue
            except ssl.SSLZeroReturnError:  # behind our own close_notify
                data = b""
            if data:
                return data
            self._has_close_notify = True
            return "close_notify"

    def hear_all(self) -> tuple[bytes, list[Heard]]:
        """All bytes, and how it ended, to the last end."""
        data, ends = b"", list[Heard]()
        while True:
            came = self.hear()
            if isinstance(came, bytes):
                data += came
            else:
                ends.append(came)
                if came != "close_notify":
                    return data, ends

    def learns_that_it_is_gone(self) -> bool:
        """Does a reset come? Behind a FIN a read does not tell."""
        poll = select.poll()
        poll.register(self.sock, 0)
        return any(event & select.POLLERR for _, event in poll.poll(DEADLINE_S * 1000))

    def hear_bytes(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            came = self.hear()
            assert isinstance(came, bytes), f"{came} after {data!r}"
            data += came
        return data


def both_secure(client: Side, server: Side, client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """The handshakes of both, side by side."""
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            server.secure(server_context)
        except BaseException as error:
            failures.append(error)

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        client.secure(client_context, "localhost")
    finally:
        serving.join(DEADLINE_S)
    assert not failures, failures
