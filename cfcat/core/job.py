"""`Job`: the outcome of a coroutine that is run step by step, on any loop. What a task is to asyncio, but a promise."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from cfcat.core.loop import Loop
from cfcat.core.promise import Promise
from cfcat.errors import SocketError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Job"]

T = TypeVar("T")


class Job(Promise[T]):
    """Runs a coroutine, from the next turn of the loop on, and settles with what that returns or raises.

    The coroutine awaits promises, and coroutines that do; on asyncio's loop it may await futures, but nothing that
    asks for the current task. Cancelling closes it at once: its `finally` blocks run, and must not await. A job that
    cancels itself is closed at its next wait; if it ends before that, its outcome stands.
    """

    __slots__ = ("_awaited", "_coroutine", "_is_to_close")

    def __init__(self, loop: Loop, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__(loop, _close)
        self._coroutine = coroutine
        self._awaited: Any = None  # a promise, or a future of asyncio's
        self._is_to_close = False  # it has cancelled itself
        loop.call_soon(self._step)

    def _step(self, _: object = None) -> None:
        if self.done():  # it was cancelled before its turn
            return
        try:
            self._awaited = self._coroutine.send(None)
        except StopIteration as stop:
            self._on_cancel = None  # it has ended: there is nothing to close
            self.resolve(stop.value)
        except (KeyboardInterrupt, SystemExit) as error:
            self.reject(error)
            raise
        except BaseException as error:
            if isinstance(error, SocketError):
                error.__traceback__ = None  # it tells nobody anything, and would keep this job alive
            self.reject(error)
        else:
            self._wait_for_it()

    def _wait_for_it(self) -> None:
        if self._is_to_close:
            self._awaited = None
            self._undo()
        elif self._awaited is None:  # nothing but a turn for others
            self._loop.call_soon(self._step)
        else:
            self._awaited.add_done_callback(self._step)

    def _undo(self) -> None:
        if self._coroutine.cr_running:  # type: ignore[attr-defined]  # as Python's coroutines have
            self._is_to_close = True
        else:
            super()._undo()

    def end_with_loop(self) -> None:
        """Have it cancelled when its loop ends, as `asyncio.run()` does with all tasks that are left."""
        if hasattr(self._loop, "create_task"):  # else it is a loop of ours
            from asyncio import _register_task  # for tasks that are not asyncio's own, says its manual

            _register_task(self)  # type: ignore[arg-type]

    # ---- what asyncio's users ask of a task

    def get_coro(self) -> Coroutine[Any, Any, T]:
        """What it runs."""
        return self._coroutine

    def get_name(self) -> str:
        """For messages."""
        return f"cfcat: {self._coroutine!r}"

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        """The frame in which it waits; nothing where it does not."""
        frame: FrameType | None = getattr(self._coroutine, "cr_frame", None)
        return [] if frame is None else [frame]

    def print_stack(self, *, limit: int | None = None, file: TextIO | None = None) -> None:
        """Print where it waits, to stderr if nothing else is said."""
        from traceback import print_stack  # lazy: for debugging

        for frame in self.get_stack():
            print_stack(frame, 1, file)

    def result(self) -> T:
        """As `Promise.result`; a bug keeps its traceback."""
        error = None if self.cancelled() or not self.done() else self.exception()
        if error is not None and not isinstance(error, SocketError):
            raise error
        return super().result()


def _close(job: Promise[Any]) -> None:
    assert isinstance(job, Job)
    if job._awaited is not None:
        job._awaited.remove_done_callback(job._step)
    job._coroutine.close()
