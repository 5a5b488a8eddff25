"""Ways from a socket to a scripted peer, clear text or TLS, and facts to wait for."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from cfcat import Socket, connect, make_tls_context
from cfcat.core.promise import Promise
from cfcat.core.readable import ReadableStream
from tests.helpers.certs import CertSet
from tests.helpers.peers import End, Peer, Script, Server, serve

__all__ = [
    "BIG",
    "Kind",
    "Link",
    "called",
    "fact",
    "no_descriptor_left",
    "open_descriptors",
    "outcome",
    "read_all",
    "take",
    "take_all",
    "turns",
    "until",
    "watched",
]

T = TypeVar("T")

# 1.25 MiB and a bit: more than a turn of the loop moves and than a socket buffer takes.
BIG = bytes(range(256)) * 5120 + b"odd length"
DEADLINE_S = 10

Kind = Literal["plain", "tls12", "tls13", "upgraded12", "upgraded13"]

STARTTLS = b"STARTTLS\r\n"
GO_AHEAD = b"220 go\r\n"


@dataclass(frozen=True)
class Link:
    """A kind of connection. Scripts and tests see the stream that matters: for `upgraded`, the one under TLS."""

    kind: Kind
    certs: CertSet

    @property
    def tls(self) -> bool:
        return self.kind != "plain"

    @property
    def eof(self) -> End:
        """How our end in order looks to the peer."""
        return "close_notify" if self.tls else "eof"

    @property
    def upgraded(self) -> bool:
        return self.kind.startswith("upgraded")

    def serve(self, script: Script) -> AbstractContextManager[Server]:
        """Serve `script`, once dialog and handshake are behind it."""

        def prepared(conn: Peer) -> None:
            if self.upgraded:
                assert conn.recv_until(b"\n") == STARTTLS
                conn.send(GO_AHEAD)
            if self.tls:
                version = ssl.TLSVersion.TLSv1_2 if self.kind.endswith("12") else ssl.TLSVersion.TLSv1_3
                conn.start_tls(self.certs.server_context(version=version))
            script(conn)

        return serve(prepared)

    async def connect(self, server: Server, **options: Any) -> Socket:
        """A socket, upgraded already where that is the kind, on its way to being opened."""
        if self.tls:
            options["tls"] = make_tls_context(cacert=self.certs.ca)
            options["secure_transport"] = "starttls" if self.upgraded else "on"
        socket = connect(server.address, **options)
        if self.upgraded:
            writer, reader = socket.writable.get_writer(), socket.readable.get_reader()
            writer.write(STARTTLS)
            said = b""
            while not said.endswith(b"\n"):
                said += await reader.read()
            assert said == GO_AHEAD
            socket = socket.start_tls()
        return socket

    def received(self, server: Server) -> bytes:
        """What the first peer got on the stream that matters."""
        return server.received.removeprefix(STARTTLS) if self.upgraded else server.received

    def end_data(self, conn: Peer) -> None:
        """End the peer's data in order, and leave the connection open for ours."""
        if self.tls:
            conn.close_notify()
        else:
            conn.end()


async def outcome(promise: Awaitable[T]) -> T:
    """The promise as a coroutine, of which tasks are made."""
    return await promise


def watched(promise: Promise[T]) -> Promise[T]:
    """A promise of two who wait, so that each has its turn after it has settled: one alone goes on at once."""
    promise.add_done_callback(lambda _: None)
    return promise


async def read_all(socket: Socket) -> bytes:
    """Everything up to EOF, through a reader that is released afterwards."""
    reader = socket.readable.get_reader()
    data = bytearray()
    while chunk := await reader.read():
        data += chunk
    reader.release_lock()
    return bytes(data)


async def fact(event: threading.Event) -> None:
    """Wait for what a peer's thread tells, the loop running on meanwhile."""
    assert await asyncio.to_thread(event.wait, DEADLINE_S), "the peer did not get that far"


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until `holds()`."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0)


async def turns(count: int) -> None:
    """Let the loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)


def open_descriptors() -> set[str]:
    """What each open descriptor of this process is: a socket by its inode, lest a new one pass for an old."""
    found = set()
    for number in os.listdir("/dev/fd"):
        with suppress(OSError):  # the listing's own
            found.add(f"{number} {os.readlink(f'/dev/fd/{number}')}")
    return found


async def called(readable: ReadableStream) -> None:
    """Wait until the stream calls back."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    readable.watch(lambda: None if future.done() else future.set_result(None))
    try:
        await future
    finally:
        readable.watch(None)


async def take(readable: ReadableStream, limit: int = 64 * 1024) -> bytes:
    """The next chunk, b"" at EOF."""
    buffer = memoryview(bytearray(limit))
    while (size := readable.take_into(buffer)) is None:
        await called(readable)
    return bytes(buffer[:size])


async def take_all(readable: ReadableStream) -> bytes:
    data = bytearray()
    while chunk := await take(readable):
        data += chunk
    return bytes(data)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """What the block opened it has closed."""
    before = open_descriptors()
    yield
    assert open_descriptors() == before
