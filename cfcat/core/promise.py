"""`Promise`: the outcome of a call or of a connection, settled once and told to any number of callbacks.

It is JavaScript's promise: the call has been made, in program order, and awaiting only waits. An outcome may be awaited
any number of times (N3, D5), cancelling one waiter harms no other, and a failure that nobody awaits is never reported.
Callbacks and waiters get their turn later; whoever settles a promise is not called back from within, unless it asks for
that (`at_once`).

It needs no asyncio, and no future of asyncio's: a wait is an object that asyncio's tasks take for one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from enum import Enum
from itertools import cycle
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cfcat.core.loop import Loop
from cfcat.core.spelling import Spelt
from cfcat.errors import SocketError

if TYPE_CHECKING:
    from contextvars import Context

__all__ = ["RESOLVED", "Promise", "in_daemon_thread", "is_others_turn", "job_for"]

T = TypeVar("T")


class State(Enum):
    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


# Looked at for each chunk: an attribute of an Enum costs more than a name of the module.
PENDING, RESOLVED, REJECTED, CANCELLED = State
# So many calls that succeed at once may go on without a turn of the loop; more would starve other tasks.
CALLS_A_TURN = 16
is_others_turn = cycle([False] * (CALLS_A_TURN - 1) + [True])
# Whom to call, with what, and in which context (None: any).
_Callback = tuple[Callable[[Any], object], Any, "Context | None"]


class Promise(
    Spelt,
    Generic[T],
    instead={"then": "await it, or add_done_callback()", "catch": "await it in try: and except SocketError:"},
):
    """An outcome that is there, or will be.

    `resolve()` and `reject()` are for whoever made it. To asyncio it is a future: `await`, `wait`, `gather`, `shield`,
    `wait_for` and `ensure_future` take it; `create_task` takes coroutines alone.

    Cancelling a waiter leaves it as it is, unless `on_cancel` was given: that is called when the last waiter was
    cancelled, or by `cancel()`, and undoes the call (a read gives its chunk back). Whoever awaits it then is told so.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_error",
        "_loop",
        "_on_cancel",
        "_state",
        "_value",
        "_waiting",
    )

    def __init__(self, loop: Loop, on_cancel: Callable[[Promise[T]], object] | None = None) -> None:
        self._loop = loop
        self._on_cancel = on_cancel  # None once it cannot be undone: it has failed, or somebody has the value
        self._state = PENDING
        self._callbacks: tuple[_Callback, ...] = ()
        self._waiting = 0  # how many await it
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        what = repr(self._value) if self._state is RESOLVED else repr(self._error) if self._error is not None else ""
        return f"<Promise {self._state.value}{what and ': '}{what}>"

    # ---- for whoever made it

    @classmethod
    def resolved(cls, loop: Loop, value: T) -> Promise[T]:
        """One that is settled already."""
        promise = cls(loop)
        promise.resolve(value)
        return promise

    @classmethod
    def rejected(cls, loop: Loop, error: BaseException) -> Promise[T]:
        """One that has failed already."""
        promise = cls(loop)
        promise.reject(error)
        return promise

    def resolve(self, value: T, at_once: bool = False) -> None:
        """Settle it with a value, unless it is settled.

        `at_once`: for a callback of the loop that has nothing else to do. Where one waits, it is called from within,
        which saves it a turn of the loop.
        """
        if self._state is PENDING:
            self._value = value
            self._state = RESOLVED
            if self._callbacks:
                self._call_back(at_once)

    def reject(self, error: BaseException) -> None:
        """Settle it with an error, unless it is settled."""
        if self._state is PENDING:
            self._error = error
            self._on_cancel = None
            self._state = REJECTED
            self._call_back()

    def _call_back(self, at_once: bool = False) -> None:
        callbacks, self._callbacks = self._callbacks, ()
        if at_once and len(callbacks) == 1:
            callback, argument, context = callbacks[0]
            if context is None:
                callback(argument)
            else:
                context.run(callback, argument)
        else:
            for each in callbacks:
                self._call(*each)

    def _call(self, callback: Callable[[Any], object], argument: object, context: Context | None) -> None:
        if context is None:
            self._loop.call_soon(callback, argument)
        else:
            self._loop.call_soon(context.run, callback, argument)

    def _remove(self, callback: _Callback) -> bool:
        """Was it there?"""
        before = len(self._callbacks)
        self._callbacks = tuple(each for each in self._callbacks if each is not callback)
        return len(self._callbacks) < before

    # ---- waiting

    def __await__(self) -> Generator[Any, Any, T]:
        waiter = _Waiter(self) if self._state is PENDING else None
        if waiter is not None or self._takes_turn():
            self._waiting += 1
            try:
                yield waiter
            except BaseException:
                if waiter is not None:
                    waiter.leave()
                if self._waiting == 1 and not self._callbacks:
                    self._undo()
                raise
            finally:
                self._waiting -= 1
                if waiter is not None:
                    waiter.callback = waiter.error = None  # they refer to the waiter, which makes circles
        if self._state is RESOLVED:  # as `result()`, which costs a call
            self._on_cancel = None
            return self._value
        return self.result()

    def _takes_turn(self) -> bool:
        """Does awaiting it take a turn of the loop, although it has settled? A loop of such calls must not starve other
        tasks; the calls of which many are made say no now and then, by `is_others_turn`."""
        return True

    def _undo(self) -> None:
        if self._on_cancel is not None and self._state is not CANCELLED:
            on_cancel, self._on_cancel = self._on_cancel, None
            on_cancel(self)
            self._state = CANCELLED
            self._call_back()

    # ---- what asyncio asks of a future

    @property
    def _asyncio_future_blocking(self) -> bool | None:
        """Not None: `asyncio.isfuture()` says yes, and what cancels a waiter cancels the promise itself.

        So it is no future while it is pending and others may wait for it: asyncio makes a task for each of them.
        """
        return None if self._state is PENDING and self._on_cancel is None else False

    _cancel_message: str | None = None  # `gather()` asks it of what was cancelled

    def get_loop(self) -> Loop:
        """The event loop that it belongs to."""
        return self._loop

    def done(self) -> bool:
        """Has it settled?"""
        return self._state is not PENDING

    def cancelled(self) -> bool:
        """Was the call undone?"""
        return self._state is CANCELLED

    def cancel(self, msg: object = None) -> bool:
        """Undo the call, if it can be: as long as nobody has its value (who has one on its way loses nothing then)."""
        if self._on_cancel is None or self._state not in (PENDING, RESOLVED):
            return False
        self._undo()
        return True

    def result(self) -> T:
        """Return the value, or raise the error.

        Raises:
            asyncio.InvalidStateError: it has not settled.
            asyncio.CancelledError: the call was undone.
        """
        if self._state is RESOLVED:
            self._on_cancel = None
            return self._value
        error = self.exception()
        assert error is not None
        if isinstance(error, SocketError):
            error.was_raised = True
        # The same exception object may be raised to many waiters, each adding its own frames:
        # keep the traceback of none.
        raise error.with_traceback(None)

    def exception(self) -> BaseException | None:
        """Return the error, or None. Raises as `result()`."""
        if self._state in (RESOLVED, REJECTED):
            return self._error
        if self._state is CANCELLED:
            raise self._make_cancelled_error()
        from asyncio import InvalidStateError  # lazy: whoever asks too early has it loaded

        raise InvalidStateError("the promise has not settled")

    def add_done_callback(self, callback: Callable[[Promise[T]], object], *, context: Context | None = None) -> None:
        """In the turn after it has settled, call back with the promise."""
        if self._state is PENDING:
            self._callbacks += ((callback, self, context),)
        else:
            self._call(callback, self, context)

    def remove_done_callback(self, callback: Callable[[Promise[T]], object], /) -> int:
        """Do not call it back; returns how often it would have been."""
        kept = tuple(each for each in self._callbacks if each[0] != callback)
        removed = len(self._callbacks) - len(kept)
        self._callbacks = kept
        return removed

    def _make_cancelled_error(self) -> BaseException:
        return _cancelled_error()


class _Waiter:
    """One who awaits a pending promise. To the task it is a future, which it may cancel: the promise stays as it is."""

    __slots__ = ("_asyncio_future_blocking", "_loop", "_promise", "callback", "error")

    def __init__(self, promise: Promise[Any]) -> None:
        self._asyncio_future_blocking = True
        self._loop = promise._loop
        self._promise = promise
        self.callback: _Callback | None = None
        self.error: BaseException | None = None  # it was cancelled

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call back when the promise has settled. A waiter has one callback, the task or the job that waits."""
        self.callback = callback, self, context
        self._promise._callbacks += (self.callback,)

    def remove_done_callback(self, callback: object) -> None:
        """Do not call it back."""
        self.leave()

    def leave(self) -> bool:
        """Wait no longer; has it been waiting?"""
        return self.callback is not None and self._promise._remove(self.callback)

    def cancel(self, msg: str | None = None) -> bool:
        """Wait no longer, and call back to say so. False: the promise has settled, and its outcome is on the way."""
        if self.callback is None or not self.leave():
            return False
        self.error = _cancelled_error(msg)
        self._promise._call(*self.callback)
        return True

    def result(self) -> None:
        """Raise CancelledError, if it was cancelled: the outcome is the promise's to give."""
        if self.error is not None:
            raise self.error


def _cancelled_error(*words: str | None) -> BaseException:
    from asyncio import CancelledError  # lazy: only asyncio cancels

    return CancelledError(*(word for word in words if word is not None))


def job_for(promise: Promise[T], work: Callable[[], T]) -> Callable[[], None]:
    """What a thread has to do so that the promise settles, in its own loop, as the work ends."""
    loop = promise.get_loop()

    def job() -> None:
        try:
            result = work()
        except BaseException as error:
            tell(promise.reject, error)
        else:
            tell(promise.resolve, result)

    def tell(settle: Callable[[Any], None], outcome: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    return job


def in_daemon_thread(loop: Loop, work: Callable[[], T], name: str) -> Promise[T]:
    """Do what cannot be interrupted in a thread of its own, which holds up neither a deadline nor the exit."""
    import threading  # lazy: most runs have no other thread

    promise: Promise[T] = Promise(loop)
    threading.Thread(target=job_for(promise, work), name=name, daemon=True).start()
    return promise
