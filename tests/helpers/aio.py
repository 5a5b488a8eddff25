"""Run a coroutine in a fresh event loop that forgives nothing.

A library that loses an exception, leaves a task behind or forgets a descriptor usually still gives the
right answer, once. `run()` makes each of these a failure of the very test that caused it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

__all__ = ["run", "uncollected"]

T = TypeVar("T")

# How often the loop may turn before a task counts as left behind: a task that was just cancelled, or whose
# last future was just settled, needs a turn or two to end. Turns, not time.
_TURNS_TO_SETTLE = 10
# After the deadline the coroutine is cancelled; one that swallows the cancellation must not hang the run.
_CANCEL_S = 2.0


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Run the block without the collector of cycles: each object is freed by its last user, or stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def run(coro: Coroutine[Any, Any, T], timeout_s: float = 20) -> T:
    """Run `coro` to its end and return its result; an exception of its own passes unchanged.

    Raises:
        AssertionError: the deadline passed (the message says where every task stood), tasks were left
            pending, the loop reported an unhandled exception, or a ResourceWarning or an exception in
            a destructor appeared.
    """
    complaints: list[str] = []

    def on_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        cause = context.get("exception")
        complaints.append(f"the loop reported: {context.get('message')}" + (f": {cause!r}" if cause else ""))

    def on_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
        complaints.append(f"exception ignored in {unraisable.object!r}: {unraisable.exc_value!r}")

    old_hook = sys.unraisablehook
    sys.unraisablehook = on_unraisable
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.get_loop().set_exception_handler(on_loop_error)
                result = runner.run(_watched(coro, timeout_s, complaints))
                gc.collect()  # "was never retrieved" is said by destructors, and must be said to this loop
            gc.collect()
    finally:
        sys.unraisablehook = old_hook
    for warning in caught:
        complaints.append(f"{warning.category.__name__}: {warning.message}")
    assert not complaints, "\n".join(complaints)
    return result


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop: asyncio itself, or uvloop where CFCAT_TEST_LOOP says so."""
    if os.environ.get("CFCAT_TEST_LOOP") != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _watched(coro: Coroutine[Any, Any, T], timeout_s: float, complaints: list[str]) -> T:
    task = asyncio.create_task(coro, name="the test")
    _, late = await asyncio.wait({task}, timeout=timeout_s)
    if late:
        places = _places()
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_S)
        raise AssertionError(f"not finished within {timeout_s:g} s; tasks stood at:\n{places}")
    for _ in range(_TURNS_TO_SETTLE):
        if not _others():
            break
        await asyncio.sleep(0)
    if task.cancelled() or task.exception() is None:  # a failed test may well leave tasks behind
        complaints.extend(f"task left pending: {_place(left)}" for left in _others())
    return task.result()


def _others() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def _places() -> str:
    return "\n".join(_place(task) for task in _others())


def _place(task: asyncio.Task[Any]) -> str:
    out = io.StringIO()
    task.print_stack(file=out)
    return f"{task.get_name()}: {task.get_coro()!r}\n{out.getvalue()}"
