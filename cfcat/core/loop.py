"""What the core asks of its event loop: six things. asyncio's loops have them, and so has `edges.poll_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Handle", "Loop", "running_loop", "set_running_loop"]


class Handle(Protocol):
    """A call that is to come."""

    def cancel(self) -> object:
        """Do not make it."""


class Loop(Protocol):
    """Calls back when a descriptor is ready, soon, or later. One callback each for reading and for writing is known for
    a descriptor; a new one replaces it.
    """

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> object:
        """Call back whenever a read would not wait: there is something, the end, or an error."""

    def remove_reader(self, fd: Any) -> object: ...

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> object:
        """Call back whenever a write would not wait."""

    def remove_writer(self, fd: Any) -> object: ...

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Call in the next turn, in the order of asking."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call after so many seconds."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """As `call_soon`, from another thread. RuntimeError: the loop is closed."""

    def time(self) -> float:
        """Seconds, by the clock of `call_later`."""


_running: Loop | None = None  # a loop of ours
_running_of_asyncio: Callable[[], Loop] | None = None  # which of its loops is running; not loaded before it is asked


def running_loop() -> Loop:
    """The loop that calls us.

    Raises:
        RuntimeError: there is none.
    """
    global _running_of_asyncio
    if _running is not None:
        return _running
    if _running_of_asyncio is None:
        from asyncio import get_running_loop

        _running_of_asyncio = get_running_loop
    return _running_of_asyncio()


def set_running_loop(loop: Loop | None) -> None:
    """For a loop of ours: it runs from now on; None: no more."""
    global _running
    _running = loop
