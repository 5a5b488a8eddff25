"""Scripted TCP clients: the peers of `peers`, for a program that listens.

    with calling(script) as caller:
        ...  # start a program that listens on caller.address
    assert caller.received == b"hello"

It dials as soon as somebody listens there, once, and then all is as in `peers.serve`: the script runs in a thread of
its own, what it raises fails the test, and so does a program that has not closed its connection at the end.
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.helpers.peers import Peer, Script, Server, serving

__all__ = ["Caller", "CallingPeer", "calling"]

RETRY_S = 0.005
HOST = "127.0.0.1"


class CallingPeer(Peer):
    """A peer that has dialed. `start_tls()` is the client's, for `localhost`; `address` is what was dialed."""

    def _wrap(self, context: ssl.SSLContext) -> ssl.SSLObject:
        return context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")


class Caller(Server):
    """Dials the program once, and plays the script. `address`: where that has to listen."""

    def __init__(self, script: Script, timeout_s: float) -> None:
        self._narrow = False
        self._own_address = ""
        self._stopping = threading.Event()
        super().__init__(script, HOST, 0, timeout_s)

    @property
    def name(self) -> str:
        return self._own_address

    def narrow(self) -> None:
        self._narrow = True

    def _listen(self, host: str, port: int) -> socket.socket:
        # Bound and never listened on: the port is nobody else's, but for who reuses addresses, as cfcat does.
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        return held

    def _accept(self) -> None:
        with self._listener, self._stop_there:
            while not self._stopping.is_set():
                with suppress(ConnectionRefusedError):
                    self._dial()
                    return
                time.sleep(RETRY_S)

    def _dial(self) -> None:
        sock = socket.socket()
        try:
            if self._narrow:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            sock.connect((HOST, self.port))
            if sock.getsockname() == sock.getpeername():  # it met itself, as nobody listened
                raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
        except BaseException:
            sock.close()
            raise
        self._own_address = f"{HOST}:{sock.getsockname()[1]}"
        self._start(sock, (HOST, self.port))

    def stop(self, grace_s: float) -> list[str]:
        self._stopping.set()
        return super().stop(grace_s)

    def _make_peer(self, sock: socket.socket, address: tuple[str, int]) -> Peer:
        return CallingPeer(sock, address, self._timeout_s, self.released)


@contextmanager
def calling(script: Script, *, timeout_s: float = 10) -> Iterator[Caller]:
    """Play `script` as a client of the program that listens on the caller's address; as `serve`."""
    with serving(Caller(script, timeout_s)) as caller:
        yield caller
