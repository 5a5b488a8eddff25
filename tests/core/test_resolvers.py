"""The threads that resolve names."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from cfcat import ConnectError, connect
from cfcat.core.resolvers import MOST_RESOLVERS, Resolvers, resolvers
from tests.helpers.links import outcome, turns


def names_of_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "cfcat-resolver"]


async def test_a_thousand_connects_by_name_need_16_threads_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the resolver does not answer; all fail when it does."""
    go, asked = threading.Event(), socket.getaddrinfo

    def slow(name: Any, *arguments: Any) -> Any:
        if len(arguments) == 5:  # numeric alone: asked without a thread
            return asked(name, *arguments)
        go.wait(15)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    opened = [connect("name.test:25").opened for _ in range(1000)]
    await turns(10)
    try:
        assert len(names_of_threads()) == MOST_RESOLVERS
    finally:
        go.set()
    assert {type(each).__name__ for each in await asyncio.gather(*opened, return_exceptions=True)} == {"ResolveError"}


async def test_work_that_was_cancelled_before_it_began_is_not_done() -> None:
    """A name that nobody waits for takes no turn."""
    pool, go, done = Resolvers(), threading.Event(), list[int]()
    loop = asyncio.get_running_loop()
    busy = [pool.run(loop, lambda: go.wait(10)) for _ in range(MOST_RESOLVERS)]
    late = asyncio.create_task(outcome(pool.run(loop, lambda: done.append(1))))
    await turns(3)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    go.set()
    await asyncio.gather(*busy)
    assert await pool.run(loop, lambda: len(done)) == 0


async def test_a_thread_that_cannot_be_started_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 57: too many threads in the process; a later name is resolved again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ConnectError, match="no thread could be started"):
            await connect("name.test:25").opened
    assert await resolvers.run(asyncio.get_running_loop(), lambda: 1) == 1
