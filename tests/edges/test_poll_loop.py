"""The six calls that the core asks of its loop: those of `PollLoop`, and of asyncio's loop beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from cfcat.core.job import Job
from cfcat.core.loop import Loop, running_loop
from cfcat.core.promise import Promise, in_daemon_thread
from cfcat.core.waiting import settled, sleep
from cfcat.edges.asyncio_loop import run_in_asyncio
from cfcat.edges.poll_loop import PollLoop

Run = Callable[[Coroutine[Any, Any, Any]], Any]
DEADLINE_S = 10.0


def run_in_poll_loop(main: Coroutine[Any, Any, Any]) -> Any:
    return PollLoop().run(main)


@pytest.fixture(params=[run_in_poll_loop, run_in_asyncio], ids=["poll", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Either loop: what a test says holds for both."""
    chosen: Run = request.param
    return chosen


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def promise_of(loop: Loop) -> Promise[Any]:
    return Promise(loop)


# ------------------------------------------------------------------------------------------------- a run


def test_a_run_returns_what_its_coroutine_does(run: Run) -> None:
    async def main() -> int:
        await sleep(0)
        return 7

    assert run(main()) == 7


def test_a_run_raises_what_its_coroutine_does(run: Run) -> None:
    async def main() -> None:
        await sleep(0)
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        run(main())


def test_the_running_loop_is_known_while_it_runs_and_no_longer(run: Run) -> None:
    async def main() -> object:
        return running_loop()

    assert hasattr(run(main()), "add_reader")
    with pytest.raises(RuntimeError):
        running_loop()


def test_what_a_callback_raises_ends_the_run(run: Run) -> None:
    """It is a bug; the coroutine is cancelled, and its `finally` runs."""
    ended = []

    async def main() -> None:
        loop = running_loop()

        def bug() -> None:
            raise ZeroDivisionError("a bug")

        loop.call_soon(bug)
        try:
            await promise_of(loop)
        finally:
            ended.append(True)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(main())
    assert ended == [True]


def test_a_run_leaves_no_descriptor(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> None:
        loop = running_loop()
        loop.add_reader(pair[0], print)
        await in_daemon_thread(loop, lambda: None, "a thread")
        loop.remove_reader(pair[0])

    before = open_descriptors()
    run(main())
    assert open_descriptors() == before


# ------------------------------------------------------------------------------------------------- descriptors


def test_a_reader_is_called_when_there_is_something(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    """As often as it is not read; and no more once it is removed."""

    async def main() -> list[bytes]:
        loop, came = running_loop(), list[bytes]()
        over = promise_of(loop)

        def read(name: str) -> None:
            came.append(pair[0].recv(1))
            if len(came) == 3:
                loop.remove_reader(pair[0])
                over.resolve(None)

        loop.add_reader(pair[0], read, "its argument")
        pair[1].send(b"abcd")
        await settled([over], DEADLINE_S)
        await sleep(0)
        return came

    assert run(main()) == [b"a", b"b", b"c"]


def test_a_new_callback_replaces_the_old_one(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> list[str]:
        loop, called = running_loop(), list[str]()
        over = promise_of(loop)

        def call(name: str) -> None:
            called.append(name)
            loop.remove_reader(pair[0].fileno())
            over.resolve(None)

        loop.add_reader(pair[0], call, "old")
        loop.add_reader(pair[0].fileno(), call, "new")
        pair[1].send(b"x")
        await settled([over], DEADLINE_S)
        return called

    assert run(main()) == ["new"]


def test_reading_and_writing_are_watched_apart(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    """One descriptor has a callback for each; removing one leaves the other."""

    async def main() -> tuple[int, int]:
        loop = running_loop()
        reads, writes = [0], [0]
        read, wrote = promise_of(loop), promise_of(loop)

        def on_read() -> None:
            reads[0] += 1
            read.resolve(None)
            loop.remove_reader(pair[0])

        def on_write() -> None:
            writes[0] += 1
            wrote.resolve(None)
            loop.remove_writer(pair[0])
            pair[1].send(b"x")

        loop.add_reader(pair[0], on_read)
        loop.add_writer(pair[0], on_write)
        await settled([wrote], DEADLINE_S)
        await settled([read], DEADLINE_S)
        return reads[0], writes[0]

    assert run(main()) == (1, 1)


@pytest.mark.parametrize("watch", ["add_reader", "add_writer"])
def test_a_hang_up_wakes_either_direction(run: Run, pair: tuple[socket.socket, socket.socket], watch: str) -> None:
    """Whoever waits finds out by trying: also a writer whose peer takes nothing."""

    async def main() -> bool:
        loop = running_loop()
        over = promise_of(loop)
        if watch == "add_writer":
            with contextlib.suppress(BlockingIOError):
                while True:
                    pair[0].send(bytes(65536))
        getattr(loop, watch)(pair[0], over.resolve, None)
        loop.call_soon(pair[1].close)
        await settled([over], DEADLINE_S)
        getattr(loop, watch.replace("add", "remove"))(pair[0])
        return over.done()

    assert run(main())


def test_a_reader_that_was_removed_in_the_same_turn_is_not_called(run: Run) -> None:
    """Both are ready: the first to be called removes the other."""

    async def main() -> list[int]:
        loop, called = running_loop(), list[int]()
        ends = [socket.socketpair() for _ in range(2)]

        def call(number: int) -> None:
            called.append(number)
            for ours, _ in ends:
                loop.remove_reader(ours)

        for number, (ours, theirs) in enumerate(ends):
            theirs.send(b"x")
            loop.add_reader(ours, call, number)
        await sleep(0.01)
        for each in ends:
            for end in each:
                end.close()
        return called

    assert len(run(main())) == 1


def test_to_remove_what_is_not_watched_does_nothing(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> None:
        loop = running_loop()
        loop.remove_reader(pair[0])
        loop.remove_writer(pair[0])

    run(main())


# ------------------------------------------------------------------------------------------------- calls to come


def test_calls_come_in_the_order_of_asking_and_not_at_once(run: Run) -> None:
    async def main() -> list[str]:
        loop, called = running_loop(), list[str]()
        over = promise_of(loop)

        def first() -> None:
            called.append("first")
            loop.call_soon(called.append, "asked by the first")
            loop.call_soon(over.resolve, None)

        loop.call_soon(first)
        loop.call_soon(called.append, "second")
        cancelled = loop.call_soon(called.append, "cancelled")
        cancelled.cancel()
        called.append("begin")
        await over
        return called

    assert run(main()) == ["begin", "first", "second", "asked by the first"]


def test_what_waits_is_called_before_what_becomes_ready_meanwhile(
    run: Run, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Whoever has asked first comes first: our end goes out before a reset is met that came behind it."""

    async def main() -> list[str]:
        loop, called = running_loop(), list[str]()
        over = promise_of(loop)

        def read() -> None:
            called.append("ready")
            loop.remove_reader(pair[0])
            over.resolve(None)

        loop.add_reader(pair[0], read)
        pair[1].send(b"x")
        loop.call_soon(called.append, "waiting")
        await over
        return called

    assert run(main()) == ["waiting", "ready"]


def test_timers_come_in_the_order_of_their_times_and_never_early(run: Run) -> None:
    async def main() -> list[str]:
        loop, called = running_loop(), list[str]()
        over, began = promise_of(loop), loop.time()

        def call(name: str, delay: float) -> None:
            assert loop.time() - began >= delay
            called.append(name)

        loop.call_later(0.02, call, "later", 0.02)
        loop.call_later(0.01, call, "sooner", 0.01)
        loop.call_later(0.015, called.append, "cancelled").cancel()
        loop.call_later(0.03, over.resolve, None)
        await over
        return called

    assert run(main()) == ["sooner", "later"]


def test_a_timer_may_cancel_one_that_is_due_with_it(run: Run) -> None:
    async def main() -> list[str]:
        loop, called = running_loop(), list[str]()
        both_due_s = loop.time() + 0.01
        other = loop.call_later(0.002, called.append, "the other")
        loop.call_later(0.001, other.cancel)
        while loop.time() < both_due_s:
            pass
        await sleep(0.01)
        return called

    assert run(main()) == []


def test_a_timer_may_be_years_away(run: Run) -> None:
    async def main() -> None:
        running_loop().call_later(1e9, print)
        await sleep(0.001)

    run(main())


def test_callbacks_that_call_again_do_not_starve_descriptors(
    run: Run, pair: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> bool:
        loop = running_loop()
        over = promise_of(loop)

        def again() -> None:
            if not over.done():
                loop.call_soon(again)

        again()
        loop.add_reader(pair[0], over.resolve, None)
        pair[1].send(b"x")
        await settled([over], DEADLINE_S)
        loop.remove_reader(pair[0])
        return over.done()

    assert run(main())


# ------------------------------------------------------------------------------------------------- threads


def test_a_thread_wakes_a_loop_that_waits(run: Run) -> None:
    async def main() -> str:
        loop = running_loop()
        told = promise_of(loop)
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(told.resolve, "by the thread"))
        loop.call_soon(thread.start)
        await settled([told], DEADLINE_S)
        thread.join()
        return str(told.result())

    assert run(main()) == "by the thread"


def test_many_calls_of_threads_all_come(run: Run) -> None:
    """More than a pipe holds, while the loop does not look."""
    count = 100_000

    async def main() -> int:
        loop, calls = running_loop(), list[int]()
        over = promise_of(loop)

        def call_often() -> None:
            for number in range(count):
                loop.call_soon_threadsafe(calls.append, number)
            loop.call_soon_threadsafe(over.resolve, None)

        thread = threading.Thread(target=call_often)
        thread.start()
        thread.join()
        await settled([over], DEADLINE_S)
        return len(calls)

    assert run(main()) == count


def test_a_thread_that_is_late_is_told_that_the_loop_is_closed(run: Run) -> None:
    async def main() -> Loop:
        return running_loop()

    loop = run(main())
    with pytest.raises(RuntimeError):
        loop.call_soon_threadsafe(print)


# ------------------------------------------------------------------------------------------------- jobs


def test_a_job_settles_with_the_outcome_of_its_coroutine(run: Run) -> None:
    """Not before its turn."""

    async def add(number: int) -> int:
        await sleep(0)
        return number + 1

    async def fail() -> None:
        raise ValueError("its own")

    async def main() -> None:
        loop = running_loop()
        job, failing = Job(loop, add(1)), Job(loop, fail())
        assert not job.done()
        assert await job == 2
        with pytest.raises(ValueError, match="its own"):
            await failing

    run(main())


def test_cancelling_a_job_ends_it_at_once_with_all_that_it_waits_for(run: Run) -> None:
    """Before its first turn it never begins; later, `finally` has run when `cancel()` returns."""
    steps = []

    async def inner() -> None:
        try:
            await promise_of(running_loop())
        finally:
            steps.append("inner")

    async def outer() -> None:
        steps.append("begun")
        try:
            await Job(running_loop(), inner())
        finally:
            steps.append("outer")

    async def main() -> None:
        loop = running_loop()
        never = Job(loop, outer())
        assert never.cancel()
        job = Job(loop, outer())
        await sleep(0.001)
        assert steps == ["begun"]
        assert job.cancel()
        assert steps == ["begun", "inner", "outer"]
        assert never.cancelled()
        assert job.cancelled()

    run(main())


def test_a_job_that_cancels_itself_ends_at_its_next_wait(run: Run) -> None:
    """Where it ends before that, its outcome stands."""
    steps = []

    async def ends(jobs: list[Job[str]]) -> str:
        jobs[0].cancel()
        return "ended"

    async def waits(jobs: list[Job[str]]) -> str:
        jobs[0].cancel()
        steps.append("goes on")
        try:
            await promise_of(running_loop())
        finally:
            steps.append("closed")
        return "never"

    async def main() -> None:
        loop = running_loop()
        for work in (ends, waits):
            jobs = list[Job[str]]()
            jobs.append(Job(loop, work(jobs)))
            await settled(jobs, DEADLINE_S)
            assert jobs[0].cancelled() is (work is waits)
        assert steps == ["goes on", "closed"]

    run(main())


def test_an_exception_that_ends_the_program_is_not_kept(run: Run) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def main() -> None:
        await settled([Job(running_loop(), leave())], DEADLINE_S)

    with pytest.raises(SystemExit):
        run(main())


def test_a_job_ends_with_asyncios_loop() -> None:
    """`asyncio.run()` cancels tasks; a job that is to end with its loop is cancelled with them."""
    ended = []

    async def work() -> None:
        try:
            await promise_of(running_loop())
        finally:
            ended.append(True)

    async def main() -> None:
        Job(running_loop(), work()).end_with_loop()
        await asyncio.sleep(0.001)

    asyncio.run(main())
    assert ended == [True]
