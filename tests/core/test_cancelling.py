"""Cancelled in the moment in which it succeeds: no client, no connection and no task is lost, at whichever turn."""

from __future__ import annotations

import asyncio
import contextlib
import socket as stdlib
from collections.abc import Iterator
from functools import partial

import pytest

from cfcat import SocketError, connect, proxy, wait_for
from cfcat.core.address import Target
from cfcat.core.clients import Clients, ListenTo
from cfcat.core.options import SocketOptions
from cfcat.record.subscribers import Subscribers
from tests.core.test_proxy import granted
from tests.helpers.aio import uncollected
from tests.helpers.links import open_descriptors, turns, until
from tests.helpers.peers import Peer, Server, serve

TURNS = 14


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    """What is lost would be closed by the collector, some time."""
    with uncollected():
        yield


def has_clients(server: Server, count: int) -> bool:
    return server.connections == count


@pytest.mark.parametrize("wait_s", [None, 5.0])
async def test_a_client_that_comes_while_the_wait_is_cancelled_is_the_next_one(wait_s: float | None) -> None:
    """With a deadline of the wait, and without."""
    target = Target("127.0.0.1:0", "127.0.0.1", 0)
    events = Subscribers()
    clients = Clients(ListenTo(target, keep=True, wait_s=wait_s), events)
    options = SocketOptions(allow_half_open=True)
    with contextlib.closing(clients):
        first = asyncio.create_task(clients.next(options))
        await turns(3)
        first.cancel()
        await asyncio.wait({first})
        assert clients._listener is not None
        port = int(clients._listener.local_address.rpartition(":")[2])
        for turned in range(TURNS):
            task = asyncio.create_task(clients.next(options))
            await turns(3)
            with stdlib.create_connection(("127.0.0.1", port)) as client:
                client.send(bytes((turned,)))
                await turns(turned)
                task.cancel()
                await asyncio.wait({task})
                socket = await asyncio.wait_for(clients.next(options), 5) if task.cancelled() else task.result()
                assert await socket.readable.get_reader().read() == bytes((turned,))
                socket.abort()


async def test_a_connection_that_is_ready_while_wait_for_is_cancelled_is_aborted() -> None:
    """Its server sees the end at once."""

    def script(conn: Peer) -> None:
        with contextlib.suppress(OSError):  # it may be aborted already
            conn.send(b"hello")
        conn.recv_until_eof()

    with serve(script) as server:
        for turned in range(TURNS):
            task = asyncio.create_task(wait_for(server.address, timeout=5))
            await until(partial(has_clients, server, turned + 1))
            await turns(turned)
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result().abort()
            del task
            await until(lambda: server.peers[-1].saw_end.is_set())


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
async def test_a_connection_through_a_proxy_that_is_dropped_leaves_nothing(scheme: str) -> None:
    """The proxy has just answered, or is about to; with two addresses of the target two may have come about."""

    def script(conn: Peer) -> None:
        with contextlib.suppress(AssertionError, OSError):  # it may be dropped in the middle of the dialog
            granted(scheme, conn)
            conn.recv_until_eof()

    before, tasks = open_descriptors(), asyncio.all_tasks()
    for turned in range(TURNS):
        with serve(script) as server:
            resolve = {"two.test:25": ["127.0.0.1", "127.0.0.2"]} if scheme == "socks5" else None
            connection = connect("two.test:25", via=proxy(f"{scheme}://{server.address}"), resolve=resolve)
            await until(lambda: any(peer.sent for peer in server.peers))
            await turns(turned)
            connection.abort()
            with contextlib.suppress(SocketError):
                await connection.opened
            del connection
            await until(lambda: all(peer.saw_end.is_set() for peer in server.peers))
    await turns(2)
    assert open_descriptors() == before
    assert asyncio.all_tasks() == tasks
