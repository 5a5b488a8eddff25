"""`Promise`: an outcome, which asyncio takes for a future."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from cfcat.core.promise import Promise, in_daemon_thread
from tests.helpers.links import outcome, turns


def new_promise(on_cancel: Callable[[Promise[str]], object] | None = None) -> Promise[str]:
    return Promise(asyncio.get_running_loop(), on_cancel)


async def by_await(promise: Promise[str]) -> str:
    return await promise


async def by_task(promise: Promise[str]) -> str:
    return await asyncio.create_task(outcome(promise))


async def by_ensure_future(promise: Promise[str]) -> str:
    return await asyncio.ensure_future(promise)


async def by_wait(promise: Promise[str]) -> str:
    done, pending = await asyncio.wait([promise], timeout=5)  # type: ignore[type-var]
    assert (done, pending) == ({promise}, set())
    return promise.result()


async def by_wait_for(promise: Promise[str]) -> str:
    return await asyncio.wait_for(promise, 5)


async def by_gather(promise: Promise[str]) -> str:
    return (await asyncio.gather(promise))[0]


async def by_timeout(promise: Promise[str]) -> str:
    async with asyncio.timeout(5):
        return await promise


async def by_shield(promise: Promise[str]) -> str:
    return await asyncio.shield(promise)


async def by_as_completed(promise: Promise[str]) -> str:
    return await next(iter(asyncio.as_completed([promise])))


Way = Callable[[Promise[str]], Awaitable[str]]
WAYS = [by_await, by_task, by_ensure_future, by_wait, by_wait_for, by_gather, by_timeout, by_shield, by_as_completed]
every_way = pytest.mark.parametrize("wait", WAYS)
can_be_undone = pytest.mark.parametrize("on_cancel", [None, lambda _: None], ids=["an outcome", "can be undone"])
OnCancel = Callable[[Promise[str]], object] | None


@every_way
@can_be_undone
@pytest.mark.parametrize("settled_first", [True, False])
async def test_every_way_of_waiting_gives_the_value(wait: Way, on_cancel: OnCancel, settled_first: bool) -> None:
    """await, wait, wait_for, gather, shield and so on: settled before or meanwhile."""
    promise = new_promise(on_cancel)
    if settled_first:
        promise.resolve("value")
    else:
        asyncio.get_running_loop().call_soon(promise.resolve, "value")
    assert await wait(promise) == "value"
    assert promise.done()


@every_way
@can_be_undone
@pytest.mark.parametrize("settled_first", [True, False])
async def test_every_way_of_waiting_raises_the_error(wait: Way, on_cancel: OnCancel, settled_first: bool) -> None:
    """The very exception, for it may carry more than its text."""
    error = ConnectionError("lost")
    promise = new_promise(on_cancel)
    if settled_first:
        promise.reject(error)
    else:
        asyncio.get_running_loop().call_soon(promise.reject, error)
    with pytest.raises(ConnectionError) as caught:
        await wait(promise)
    assert caught.value is error


@every_way
async def test_it_may_be_waited_for_again_in_every_way(wait: Way) -> None:
    """N3, D5: any number of times, with the same outcome each time."""
    promise = new_promise()
    promise.resolve("value")
    assert [await wait(promise) for _ in range(3)] == ["value"] * 3


async def test_it_settles_once() -> None:
    """What comes later changes nothing."""
    promise = new_promise()
    promise.resolve("value")
    promise.reject(ConnectionError("lost"))
    promise.resolve("another")
    assert (promise.result(), promise.exception(), promise.cancelled()) == ("value", None, False)


async def test_several_tasks_may_be_made_of_one() -> None:
    """Each waits by itself."""
    promise = new_promise()
    tasks = [asyncio.ensure_future(promise) for _ in range(3)]
    await turns(2)
    promise.resolve("value")
    assert await asyncio.gather(*tasks) == ["value"] * 3


async def test_a_waiter_has_its_outcome_in_the_next_turn() -> None:
    """One turn of the loop, and not within the call that settles it."""
    promise = new_promise()
    task = asyncio.create_task(by_await(promise))
    await turns(1)
    promise.resolve("value")
    assert not task.done()
    await turns(1)
    assert task.done()


@pytest.mark.parametrize("by", [by_await, by_wait, by_gather, by_shield])
async def test_cancelling_one_waiter_harms_no_other(by: Way) -> None:
    """The others, and later ones, get the value."""
    promise = new_promise()
    tasks = [asyncio.ensure_future(by(promise)) for _ in range(3)]
    await turns(2)
    tasks[1].cancel()
    await turns(5)
    assert [task.done() for task in tasks] == [False, True, False]
    promise.resolve("value")
    assert [await tasks[0], await tasks[2], await promise] == ["value"] * 3
    assert tasks[1].cancelled()


async def test_cancelling_a_group_harms_no_other() -> None:
    """`gather` cancels all that it waits for."""
    promise = new_promise()
    group = asyncio.gather(promise, promise)
    waiting = asyncio.ensure_future(group)
    await turns(2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    promise.resolve("value")
    assert await promise == "value"


async def test_after_a_timeout_it_may_be_waited_for_again() -> None:
    """`wait_for` cancels its waiter, not the call."""
    promise = new_promise()
    for limit_s in (0, 0.01):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(promise, limit_s)
    promise.resolve("value")
    assert await asyncio.wait_for(promise, 5) == "value"


@can_be_undone
async def test_wait_for_without_time_gives_what_is_there(on_cancel: OnCancel) -> None:
    """As of any future that is done."""
    promise = new_promise(on_cancel)
    promise.resolve("value")
    assert await asyncio.wait_for(promise, 0) == "value"


@can_be_undone
async def test_a_failure_that_nobody_awaits_is_not_reported(on_cancel: OnCancel) -> None:
    """No "exception was never retrieved": `run` would make a failure of it."""
    promise = new_promise(on_cancel)
    promise.reject(ConnectionError("lost"))
    del promise
    await turns(3)


async def test_a_failure_after_the_last_waiter_was_cancelled_is_not_reported() -> None:
    """The same, where somebody had been waiting."""
    promise = new_promise()
    task = asyncio.create_task(by_await(promise))
    await turns(2)
    task.cancel()
    await turns(2)
    promise.reject(ConnectionError("lost"))
    await turns(2)


async def test_an_error_raised_many_times_does_not_grow() -> None:
    """Each waiter sees its own frames only; the shared exception would else keep those of all."""
    promise = new_promise()
    promise.reject(ConnectionError("lost"))
    depths = []
    for _ in range(3):
        with pytest.raises(ConnectionError) as caught:
            await promise
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


@pytest.mark.parametrize("settled_first", [True, False])
async def test_callbacks_come_in_a_later_turn_and_in_order(settled_first: bool) -> None:
    """Whoever settles it is not called back from within."""
    promise = new_promise()
    calls: list[str] = []
    if settled_first:
        promise.resolve("value")
    for name in ("first", "second", "third"):
        promise.add_done_callback(partial(_note, calls, name))
    promise.resolve("value")
    assert calls == []
    await turns(1)
    assert calls == ["first: value", "second: value", "third: value"]


def _note(calls: list[str], name: str, promise: Promise[str]) -> None:
    calls.append(f"{name}: {promise.result()}")


async def test_a_callback_that_was_removed_is_not_called() -> None:
    """It says how many there were."""
    promise = new_promise()
    calls: list[Promise[str]] = []
    note = calls.append
    promise.add_done_callback(note)
    promise.add_done_callback(note)
    assert (promise.remove_done_callback(note), promise.remove_done_callback(note)) == (2, 0)
    promise.resolve("value")
    await turns(2)
    assert calls == []


async def test_asked_too_early_it_says_so() -> None:
    """As a future does."""
    promise = new_promise()
    for ask in (promise.result, promise.exception):
        with pytest.raises(asyncio.InvalidStateError):
            ask()


async def test_its_repr_says_how_it_stands() -> None:
    """Value or error included."""
    promises = [new_promise(lambda _: None) for _ in range(4)]
    promises[1].resolve("value")
    promises[2].reject(ConnectionError("lost"))
    promises[3].cancel()
    expected = ["pending", "resolved: 'value'", "rejected: ConnectionError('lost')", "cancelled"]
    assert [repr(promise) for promise in promises] == [f"<Promise {each}>" for each in expected]


async def test_what_was_done_in_a_thread_is_an_outcome() -> None:
    """A value or an error."""
    loop = asyncio.get_running_loop()
    assert await in_daemon_thread(loop, lambda: "value", "test") == "value"
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(loop, lambda: 1 / 0, "test")


# ----------------------------------------------------------------------------------------- on_cancel


class Calls(list[Any]):
    """Notes what `on_cancel` was called with."""

    def note(self, promise: Promise[str]) -> None:
        self.append(promise)


@pytest.mark.parametrize("turned", [1, 2])
@pytest.mark.parametrize("settled", [False, True])
async def test_cancelling_the_last_waiter_undoes_the_call(turned: int, settled: bool) -> None:
    """Wherever the waiter was: waiting, or with the value on its way."""
    calls = Calls()
    promise = new_promise(calls.note)
    task = asyncio.create_task(by_await(promise))
    await turns(turned)
    if settled:
        promise.resolve("value")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == [promise]


@every_way
async def test_whoever_awaits_what_was_undone_is_told(wait: Way) -> None:
    """It is cancelled, and will not settle any more."""
    promise = new_promise(Calls().note)
    assert promise.cancel()
    promise.resolve("value")
    assert promise.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await wait(promise)


async def test_a_waiter_is_told_that_the_call_is_undone() -> None:
    """By somebody else."""
    promise = new_promise(Calls().note)
    task = asyncio.create_task(by_await(promise))
    await turns(1)
    promise.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("limit_s", [0, 0.01])
async def test_a_timeout_undoes_the_call(limit_s: float) -> None:
    """`wait_for(…, 0)` cancels before anybody has awaited it."""
    calls = Calls()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(new_promise(calls.note), limit_s)
    assert len(calls) == 1


async def test_cancelling_a_group_undoes_the_calls() -> None:
    """Also before it has had its turn."""
    for turned in (0, 1, 2):
        calls = Calls()
        group = asyncio.gather(new_promise(calls.note), new_promise(calls.note))
        await turns(turned)
        group.cancel()
        with pytest.raises(asyncio.CancelledError):
            await group
        assert len(calls) == 2


async def test_cancelling_gives_back_a_value_that_nobody_has() -> None:
    """As `gather` does, whose other outcomes are still to come; afterwards there is nothing to cancel."""
    calls = Calls()
    promise = new_promise(calls.note)
    promise.resolve("value")
    assert promise.cancel()
    assert (calls, promise.cancelled(), promise.cancel()) == ([promise], True, False)


async def test_cancelling_one_of_two_waiters_undoes_nothing() -> None:
    """Only the last one does."""
    calls = Calls()
    promise = new_promise(calls.note)
    tasks = [asyncio.create_task(by_await(promise)) for _ in range(2)]
    await turns(2)
    tasks[0].cancel()
    await turns(2)
    assert calls == []
    tasks[1].cancel()
    await turns(5)
    assert len(calls) == 1


async def test_an_outcome_cannot_be_cancelled() -> None:
    """`cancel()` says so: there is nothing to undo."""
    promise = new_promise()
    assert not promise.cancel()
    promise.resolve("value")
    assert await promise == "value"


async def test_a_value_that_was_taken_is_not_given_back() -> None:
    """A second waiter that is cancelled has nothing to undo."""
    calls = Calls()
    promise = new_promise(calls.note)
    promise.resolve("value")
    assert await promise == "value"
    task = asyncio.create_task(by_await(promise))
    await turns(1)
    task.cancel()
    await turns(2)
    assert calls == []


async def test_calls_that_succeed_at_once_do_not_starve_others() -> None:
    """A loop of them lets other tasks run."""
    promise = new_promise()
    promise.resolve("value")
    others = 0

    async def other() -> None:
        nonlocal others
        for _ in range(10):
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(20):
        await promise
    assert others == 10
    await task


@pytest.mark.parametrize("waiters", [1, 2])
async def test_one_who_waits_goes_on_at_once_where_that_is_asked_for(waiters: int) -> None:
    """Within the callback that settles it, which has nothing else to do; several have a turn each."""
    promise = new_promise()
    tasks = [asyncio.create_task(by_await(promise)) for _ in range(waiters)]
    await turns(1)
    done: list[bool] = []

    def settle() -> None:
        promise.resolve("value", at_once=True)
        done.extend(task.done() for task in tasks)

    asyncio.get_running_loop().call_soon(settle)
    assert await asyncio.gather(*tasks) == ["value"] * waiters
    assert done == [waiters == 1] * waiters


async def test_gather_takes_a_cancelled_promise() -> None:
    """It would wait for ever where it cannot ask for the message of the cancellation."""
    promise: Promise[int] = Promise(asyncio.get_running_loop(), lambda _: None)
    promise.cancel()
    (result,) = await asyncio.gather(promise, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError)
