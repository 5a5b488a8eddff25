"""trio's own checks of streams, which know nothing of cfcat: 12 of them, over both ends of a connection."""

from __future__ import annotations

import select
import socket as sockets
from collections.abc import Awaitable, Callable
from ssl import TLSVersion

import pytest
import trio
import trio.lowlevel
import trio.testing

from cfcat import make_tls_context
from cfcat.core.address import parse_address
from cfcat.core.options import SecureTransport, SocketOptions
from cfcat.core.sockets import SocketInfo, adopt, connect
from tests.helpers.certs import CertSet
from tests.helpers.trio_loop import SocketStream, running_in_trio, wait_for

DEADLINE_S = 20
CHECKS = {"two ways": trio.testing.check_two_way_stream, "half-closeable": trio.testing.check_half_closeable_stream}
Pair = tuple[SocketStream, SocketStream]


async def make_pair(certs: CertSet, version: TLSVersion | None) -> Pair:
    """One end dialed, the other accepted; with a version of TLS, both under it."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        secure: SecureTransport = "off" if version is None else "on"
        options = SocketOptions(secure_transport=secure, tls=make_tls_context(cacert=certs.ca), allow_half_open=True)
        server = options._replace(tls=None if version is None else certs.server_context(version=version))
        dialed = connect(address, options)
        while not listener_is_ready(listener):
            await trio.lowlevel.checkpoint()
        sock, _ = listener.accept()
        sock.setblocking(False)
        accepted = adopt(sock, parse_address(address), server, SocketInfo("", address))
        for socket in (dialed, accepted):
            await wait_for(socket.opened)
        return SocketStream(dialed), SocketStream(accepted)


def listener_is_ready(listener: sockets.socket) -> bool:
    return bool(select.select([listener], [], [], 0)[0])


async def clog(pair: Pair) -> Pair:
    """Fill all buffers between the ends, both ways, until neither takes more."""
    for stream in pair:
        while stream._writer.desired_size > 0:
            stream._writer.write(bytes(1 << 16))
            await trio.sleep(0.001)
        while True:  # what is queued is on its way until nothing moves any more
            before = stream.socket.moved_bytes
            await trio.sleep(0.02)
            if stream.socket.moved_bytes == before and stream._writer.desired_size <= 0:
                break
            if stream._writer.desired_size > 0:
                stream._writer.write(bytes(1 << 16))
    return pair


@pytest.mark.parametrize("clogged", [False, True], ids=["", "clogged"])
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("version", [None, TLSVersion.TLSv1_2, TLSVersion.TLSv1_3], ids=["plain", "tls1.2", "tls1.3"])
def test_trio_finds_nothing_wrong(
    certs: CertSet, version: TLSVersion | None, check: Callable[..., Awaitable[None]], clogged: bool
) -> None:
    """Sending, receiving, ending, closing, cancelling, and doing two of them at a time."""

    async def pair() -> Pair:
        return await make_pair(certs, version)

    async def clogged_pair() -> Pair:
        return await clog(await make_pair(certs, version))

    async def main() -> None:
        with trio.fail_after(DEADLINE_S):
            async with running_in_trio():
                await check(pair, clogged_pair if clogged else None)

    trio.run(main)
