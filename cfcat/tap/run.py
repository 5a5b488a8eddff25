"""The tap's clients: each that comes gets a number and a job of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from cfcat.core.accepting import OUT_OF_SOMETHING_S, Listener
from cfcat.core.clients import ListenTo
from cfcat.core.job import Job
from cfcat.core.loop import running_loop
from cfcat.core.options import SocketOptions
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket
from cfcat.core.waiting import settled, sleep
from cfcat.errors import ListenError
from cfcat.record.events import Listening
from cfcat.record.subscribers import Subscribers

__all__ = ["Connection", "run_tap", "serve_clients"]


class Connection(Protocol):
    """What one connection is: returns its exit status; what goes wrong with it alone is never raised."""

    def __call__(self, number: int, client: Socket) -> Coroutine[Any, Any, int]: ...


async def run_tap(
    to: ListenTo,
    options: SocketOptions,
    events: Subscribers,
    connection: Connection,
    *,
    once: bool,
    stop: Promise[None],
    trouble: Callable[[ListenError], object],
) -> int:
    """Serve clients, any number at a time: for ever, or the first one alone; then return its status.

    `stop` ends it by rejecting. `trouble` is told that nobody can be accepted for the moment, such as for want of
    descriptors; it is tried again.

    Raises:
        ListenError: nobody can listen there.
        What `stop` rejects with, or a connection raises.
    """
    listener = Listener(to.target, options, hosts=to.hosts, relays=True)
    await listener.start()
    events.tell(Listening(listener.local_addresses))
    serving = Job(running_loop(), serve_clients(listener, connection, once=once, trouble=trouble))
    try:
        await settled([serving, stop])
        if stop.done():
            stop.result()
        return serving.result()
    finally:
        serving.cancel()
        listener.close()


async def serve_clients(
    listener: Listener, connection: Connection, *, once: bool, trouble: Callable[[ListenError], object]
) -> int:
    """As `run_tap`, at a listener that has started."""
    jobs: set[Promise[int]] = set()
    number = 0
    try:
        while True:
            client = await _next_client(listener, trouble)
            number += 1
            job = Job(running_loop(), connection(number, client))
            jobs.add(job)
            if once:
                listener.close()
                return await job
            job.add_done_callback(jobs.discard)
    finally:
        for each in list(jobs):
            each.cancel()


async def _next_client(listener: Listener, trouble: Callable[[ListenError], object]) -> Socket:
    is_told = False
    while True:
        try:
            return await listener.accept()
        except ListenError as error:
            if not is_told:
                is_told = True
                trouble(error)
            await sleep(OUT_OF_SOMETHING_S)
