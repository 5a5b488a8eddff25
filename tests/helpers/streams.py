"""Scripted peers and a client on a socket in clear text, and the texts of the reference's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cfcat import Socket, connect
from tests.helpers.aio import run
from tests.helpers.peers import Peer, serve

__all__ = [
    "LOST",
    "READABLE_CLOSING",
    "READER_LOCKED",
    "READER_RELEASED",
    "SOCKET_CLOSED",
    "WRITABLE_CLOSED",
    "WRITABLE_CLOSING",
    "WRITER_LOCKED",
    "WRITER_RELEASED",
    "drain",
    "rejection",
    "talk",
    "two",
]

READER_LOCKED = "This ReadableStream is currently locked to a reader."
WRITER_LOCKED = "This WritableStream is currently locked to a writer."
READER_RELEASED = "This ReadableStream reader has been released."
WRITER_RELEASED = "This WritableStream writer has been released."
WRITABLE_CLOSED = "This WritableStream has been closed."
SOCKET_CLOSED = "This socket has been closed."
READABLE_CLOSING = "This ReadableStream belongs to an object that is closing."
WRITABLE_CLOSING = "This WritableStream belongs to an object that is closing."
LOST = "Network connection lost."


async def rejection(operation: Awaitable[object], kind: type[BaseException]) -> str:
    """The reference's text of the error that an operation rejects with."""
    with pytest.raises(kind) as caught:
        await operation
    return str(getattr(caught.value, "message", caught.value))


def drain(conn: Peer) -> None:
    """Take what is on the wire, until nothing has come for a moment, or its end."""
    while not conn.quiet(0.1) and conn.recv():
        pass


def talk(script: Callable[[Peer], object], client: Callable[[Socket], Awaitable[None]]) -> None:
    """Run a client on a socket in clear text, which is closed afterwards."""

    async def main() -> None:
        with serve(script) as server:
            socket = connect(server.address)
            try:
                await client(socket)
            finally:
                await socket.close()

    run(main())


async def two(
    source: Callable[[Peer], object], target: Callable[[Peer], object], client: Callable[..., Awaitable[None]]
) -> None:
    """Two sockets in clear text, closed afterwards."""
    with serve(source) as left, serve(target) as right:
        sockets = connect(left.address), connect(right.address)
        try:
            await client(*sockets)
        finally:
            await asyncio.gather(*(socket.close() for socket in sockets))
