"""asyncio's loop, for a script: as `PollLoop.run`, a run that a bug in a callback ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_in_asyncio"]

T = TypeVar("T")


def run_in_asyncio(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own; return or raise what it does, or what a callback of the loop has raised."""
    return asyncio.run(_until_a_bug(main))


async def _until_a_bug(main: Coroutine[Any, Any, T]) -> T:
    task, bugs = asyncio.ensure_future(main), list[BaseException]()

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context:
            bugs.append(context["exception"])
            task.cancel()
        else:
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(on_error)
    try:
        return await task
    except asyncio.CancelledError:
        if bugs:
            raise bugs[0] from None
        raise
