"""`Operation`: a call that was made, which asyncio takes for a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cfcat.core.operation import Operation, fail, handled, resolve
from tests.core.links import turns


def new_future() -> asyncio.Future[str]:
    return handled(asyncio.get_running_loop().create_future())


async def by_await(operation: Operation[str]) -> str:
    return await operation


async def by_task(operation: Operation[str]) -> str:
    return await asyncio.create_task(operation)


async def by_wait_for(operation: Operation[str]) -> str:
    return await asyncio.wait_for(operation, 5)


async def by_gather(operation: Operation[str]) -> str:
    return (await asyncio.gather(operation))[0]


async def by_timeout(operation: Operation[str]) -> str:
    async with asyncio.timeout(5):
        return await operation


async def by_task_group(operation: Operation[str]) -> str:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(operation)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return task.result()


async def by_shield(operation: Operation[str]) -> str:
    return await asyncio.shield(operation)


Way = Callable[[Operation[str]], Awaitable[str]]
every_way = pytest.mark.parametrize(
    "wait", [by_await, by_task, by_wait_for, by_gather, by_timeout, by_task_group, by_shield]
)


@every_way
@pytest.mark.parametrize("settled_first", [True, False])
async def test_every_way_of_waiting_gives_the_value(wait: Way, settled_first: bool) -> None:
    """await, create_task, wait_for, gather, timeout, TaskGroup and shield: settled before or meanwhile."""
    future = new_future()
    operation = Operation(future)
    if settled_first:
        resolve(future, "value")
    else:
        asyncio.get_running_loop().call_soon(resolve, future, "value")
    assert await wait(operation) == "value"
    assert operation.done()


@every_way
async def test_every_way_of_waiting_raises_the_error(wait: Way) -> None:
    """The very exception, for it may carry more than its text."""
    error = ConnectionError("lost")
    future = new_future()
    fail(future, error)
    with pytest.raises(ConnectionError) as caught:
        await wait(Operation(future))
    assert caught.value is error


@every_way
async def test_it_may_be_waited_for_again_in_every_way(wait: Way) -> None:
    """N3, D5: any number of times, with the same outcome each time."""
    future = new_future()
    operation = Operation(future)
    resolve(future, "value")
    assert [await wait(operation) for _ in range(3)] == ["value"] * 3


async def test_several_tasks_may_be_made_of_one() -> None:
    """Each waits by itself."""
    future = new_future()
    operation = Operation(future)
    tasks = [asyncio.create_task(operation) for _ in range(3)]
    await turns(2)
    resolve(future, "value")
    assert await asyncio.gather(*tasks) == ["value"] * 3


async def test_cancelling_one_waiter_harms_no_other() -> None:
    """The others, and later ones, get the value."""
    future = new_future()
    operation = Operation(future)
    tasks = [asyncio.create_task(by_await(operation)) for _ in range(3)]
    await turns(2)
    tasks[1].cancel()
    await turns(2)
    assert [task.done() for task in tasks] == [False, True, False]
    resolve(future, "value")
    assert [await tasks[0], await tasks[2], await operation] == ["value"] * 3
    assert tasks[1].cancelled()


async def test_after_a_timeout_it_may_be_waited_for_again() -> None:
    """`wait_for` cancels its waiter, not the call."""
    future = new_future()
    operation = Operation(future)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(operation, 0.01)
    resolve(future, "value")
    assert await asyncio.wait_for(operation, 5) == "value"


async def test_a_failure_that_nobody_awaits_is_not_reported() -> None:
    """No "exception was never retrieved": `run` would make a failure of it."""
    future = new_future()
    operation = Operation(future)
    fail(future, ConnectionError("lost"))
    del future, operation
    await turns(3)


async def test_a_failure_after_the_last_waiter_was_cancelled_is_not_reported() -> None:
    """The same, where somebody had been waiting."""
    future = new_future()
    task = asyncio.create_task(Operation(future))
    await turns(2)
    task.cancel()
    await turns(2)
    fail(future, ConnectionError("lost"))
    await turns(2)


async def test_an_error_raised_many_times_does_not_grow() -> None:
    """Each waiter sees its own frames only; the shared exception would else keep those of all."""
    future = new_future()
    fail(future, ConnectionError("lost"))
    depths = []
    for _ in range(3):
        with pytest.raises(ConnectionError) as caught:
            await Operation(future)
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


# ----------------------------------------------------------------------------------------- on_cancel


class Calls(list[Any]):
    """Notes what `on_cancel` was called with."""

    def note(self, future: asyncio.Future[str]) -> None:
        self.append(future)


@pytest.mark.parametrize("turned", [0, 1, 2])
@pytest.mark.parametrize("settled", [False, True])
async def test_cancelling_the_last_waiter_undoes_the_call(turned: int, settled: bool) -> None:
    """Wherever the waiter was: not begun yet, waiting, or with the value on its way."""
    calls = Calls()
    future = new_future()
    task = asyncio.create_task(Operation(future, calls.note))
    await turns(turned)
    if settled:
        resolve(future, "value")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == [future]


async def test_wait_for_without_time_undoes_the_call() -> None:
    """`wait_for(…, 0)` cancels before the first step."""
    calls = Calls()
    future = new_future()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Operation(future, calls.note), 0)
    assert calls == [future]


async def test_cancelling_one_of_two_waiters_undoes_nothing() -> None:
    """Only the last one does."""
    calls = Calls()
    operation = Operation(new_future(), calls.note)
    tasks = [asyncio.create_task(by_await(operation)) for _ in range(2)]
    await turns(2)
    tasks[0].cancel()
    await turns(2)
    assert calls == []
    tasks[1].cancel()
    await turns(2)
    assert len(calls) == 1


async def test_a_value_that_was_taken_is_not_given_back() -> None:
    """A second waiter that is cancelled has nothing to undo."""
    calls = Calls()
    future = new_future()
    operation = Operation(future, calls.note)
    resolve(future, "value")
    assert await operation == "value"
    task = asyncio.create_task(by_await(operation))
    await turns(1)
    task.cancel()
    await turns(2)
    assert calls == []


async def test_calls_that_succeed_at_once_do_not_starve_others() -> None:
    """A loop of them lets other tasks run."""
    future = new_future()
    resolve(future, "value")
    others = 0

    async def other() -> None:
        nonlocal others
        for _ in range(10):
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(20):
        await Operation(future)
    assert others == 10
    await task
