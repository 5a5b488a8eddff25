"""`run()` must notice each of the ways in which a coroutine can end well and still be wrong."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.helpers.aio import run


def test_returns_the_result() -> None:
    async def body() -> int:
        await asyncio.sleep(0)
        return 7

    assert run(body()) == 7


def test_passes_the_exception_of_the_coroutine() -> None:
    """Also its own TimeoutError, which is not the deadline's."""

    async def body() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        run(body())


def test_deadline_tells_where_the_tasks_stood() -> None:
    async def waits_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(AssertionError, match=r"(?s)within 0\.05 s.*waits_for_nothing"):
        run(waits_for_nothing(), timeout_s=0.05)


def test_pending_task_is_a_failure() -> None:
    kept = []

    async def body() -> None:
        kept.append(asyncio.create_task(asyncio.Event().wait()))

    with pytest.raises(AssertionError, match="task left pending"):
        run(body())


def test_task_that_is_just_ending_is_not() -> None:
    async def body() -> None:
        asyncio.create_task(asyncio.Event().wait()).cancel()

    run(body())


def test_exception_that_nobody_retrieved_is_a_failure() -> None:
    async def body() -> None:
        asyncio.get_running_loop().create_future().set_exception(ValueError("lost"))

    with pytest.raises(AssertionError, match=r"never retrieved.*lost"):
        run(body())


def test_exception_in_a_callback_is_a_failure() -> None:
    async def body() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(body())


def test_forgotten_socket_is_a_failure() -> None:
    async def body() -> None:
        socket.socket()

    with pytest.raises(AssertionError, match=r"ResourceWarning.*unclosed"):
        run(body())
