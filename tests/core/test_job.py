"""A connection that comes about is a task to asyncio: it ends with its loop, and can be looked at."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Iterator

import pytest

from cfcat import connect
from tests.helpers.links import open_descriptors, turns


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a listener that takes nobody: TLS waits there for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_connection_that_is_not_up_ends_with_its_loop(silent: str) -> None:
    """`asyncio.run()` cancels what is left, and no descriptor stays."""
    before = open_descriptors()

    async def begin() -> None:
        connection = connect(silent, secure_transport="on")
        await turns(20)
        assert not connection.opened.done()

    asyncio.run(begin())
    assert open_descriptors() == before


async def test_a_connection_that_is_not_up_is_among_all_tasks(silent: str) -> None:
    """As long as it comes about; it says where it stands, as asyncio's own tasks do."""
    ours = asyncio.all_tasks()
    connection = connect(silent, secure_transport="on")
    await turns(20)
    (task,) = asyncio.all_tasks() - ours
    assert task.get_name().startswith("cfcat: <coroutine object")
    assert task.get_coro() is not None
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["_open_or_tell"]
    said = io.StringIO()
    task.print_stack(file=said)
    assert "_open_or_tell" in said.getvalue()
    connection.abort()
    assert asyncio.all_tasks() == ours


async def test_whoever_cancels_all_tasks_ends_it(silent: str) -> None:
    """Its `opened` is told nothing more: the loop is about to end."""
    ours = asyncio.all_tasks()
    connection = connect(silent, secure_transport="on")
    await turns(20)
    (task,) = asyncio.all_tasks() - ours
    assert task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    assert asyncio.all_tasks() == ours
    connection.abort()
