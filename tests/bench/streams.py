"""The library beside asyncio's own streams, the two in turn, in one process: the cost of a small exchange, of a
connection, and of an idle one. Ratios are of processor time; the servers are in a process of their own.

library   one line there and back, in clear text and under TLS, on asyncio and on uvloop; 1,000 connections opened;
          the memory of one that is idle
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import statistics
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cfcat import connect, make_tls_context
from tests.bench.measure import Server

__all__ = ["beside_asyncio"]

ROUNDS, CONNECTIONS, REPEATS = 3_000, 1_000, 5
LINE = b"x" * 64
AIMS = {"round trip": 1.0, "round trip, TLS": 1.0, "1,000 connections": 1.2, "idle": 4.5}


async def _our_rounds(port: int, context: ssl.SSLContext | None) -> float:
    async with connect(f"localhost:{port}", secure_transport="off" if context is None else "on", tls=context) as socket:
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        await socket.opened
        began = time.process_time()
        for _ in range(ROUNDS):
            await writer.write(LINE)
            left = len(LINE)
            while left:
                left -= len(await reader.read())
        return time.process_time() - began


async def _their_rounds(port: int, context: ssl.SSLContext | None) -> float:
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    began = time.process_time()
    for _ in range(ROUNDS):
        writer.write(LINE)
        await writer.drain()
        left = len(LINE)
        while left:
            left -= len(await reader.read(65536))
    took = time.process_time() - began
    writer.transport.abort()
    return took


async def _our_connections(port: int, _: object) -> float:
    began = time.process_time()
    for _ in range(CONNECTIONS):
        async with connect(f"127.0.0.1:{port}") as socket:
            await socket.opened
            socket.abort()
    return time.process_time() - began


async def _their_connections(port: int, _: object) -> float:
    began = time.process_time()
    for _ in range(CONNECTIONS):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.abort()
        await asyncio.sleep(0)
    return time.process_time() - began


async def _idle_kib(port: int) -> float:
    """Of one connection among many, opened and waiting for the peer."""
    kept = [connect(f"127.0.0.1:{port}") for _ in range(10)]  # what is made once is made
    await asyncio.gather(*(socket.opened for socket in kept))
    count = 200
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sockets = [connect(f"127.0.0.1:{port}") for _ in range(count)]
    await asyncio.gather(*(socket.opened for socket in sockets))
    await asyncio.sleep(0.1)
    gc.collect()
    took = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for socket in (*kept, *sockets):
        socket.abort()
    return took / count / 1024


Use = Callable[[int, ssl.SSLContext | None], Coroutine[Any, Any, float]]


def _ratio(
    loop: Callable[[], asyncio.AbstractEventLoop], ours: Use, theirs: Use, port: int, context: ssl.SSLContext | None
) -> float:
    """Medians, the two in turn."""
    costs: dict[Use, list[float]] = {ours: [], theirs: []}
    for _ in range(REPEATS):
        for use, found in costs.items():
            with asyncio.Runner(loop_factory=loop) as runner:
                found.append(runner.run(use(port, context)))
    return statistics.median(costs[ours]) / statistics.median(costs[theirs])


def beside_asyncio(ca: Path, certificate: Path) -> None:
    """Print the ratios."""
    import uvloop

    context = make_tls_context(cacert=ca)
    with Server("echo", 0, None) as plain, Server("echo", 0, certificate) as secure:
        for name, loop in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
            for what, ours, theirs, server, tls in (
                ("round trip", _our_rounds, _their_rounds, plain, None),
                ("round trip, TLS", _our_rounds, _their_rounds, secure, context),
                ("1,000 connections", _our_connections, _their_connections, plain, None),
            ):
                ratio = _ratio(loop, ours, theirs, server.port, tls)
                print(f"library {name:<8}{what:<20}{ratio:.2f} x its streams, CPU (aim: {AIMS[what]:g})", flush=True)
        idle = asyncio.run(_idle_kib(plain.port))
        print(f"library idle connection: {idle:.1f} KiB (aim: {AIMS['idle']:g})", flush=True)
