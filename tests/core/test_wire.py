"""What a wire tells of its connection, and that to ask changes nothing."""

from __future__ import annotations

import select
import threading

import pytest

from cfcat.core.sockets import connect
from cfcat.errors import LostError
from tests.helpers.links import turns
from tests.helpers.peers import Peer, serve


async def test_to_ask_for_silence_uses_no_error_up() -> None:
    """A reset that has come is met by the read, however often the silence was asked for: it must not look like EOF."""
    connected = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(connected)
        conn.reset()

    with serve(script) as server:
        socket = connect(server.address)
        await socket.opened
        connected.set()
        fd = socket._wire.sock
        assert fd is not None
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(10_000)
        assert [socket.quiet_s for _ in range(3)] == [0, 0, 0]
        with pytest.raises(LostError):
            await socket.readable.get_reader().read()


async def test_what_waits_unread_is_no_silence() -> None:
    """Bytes that the kernel has and nobody has read, and the peer's end too."""

    def script(conn: Peer) -> None:
        conn.send(b"x")
        conn.recv_until_eof()

    with serve(script) as server:
        async with connect(server.address) as socket:
            await socket.opened
            assert socket._wire.sock is not None
            poll = select.poll()
            poll.register(socket._wire.sock, select.POLLIN)
            assert poll.poll(10_000)
            assert socket.quiet_s == 0
            assert await socket.readable.get_reader().read() == b"x"
            while socket.quiet_s == 0:  # not every loop's clock goes on within a turn
                await turns(1)
            assert 0 < socket.quiet_s < 10
