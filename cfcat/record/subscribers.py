"""Who is told of events, and of bytes: `Subscribers`, in their order.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cfcat.record.kept import Event
    from cfcat.record.making import Trace

__all__ = ["Subscriber", "Subscribers"]


class Subscriber(Protocol):
    """Who wants to know. It is told on the event loop: it must neither block nor raise."""

    @property
    def wants_bytes(self) -> bool:
        """Does it need each `Moved`? Counters are enough for most, and let descriptors be joined in the kernel."""

    def take(self, event: Event) -> None:
        """Take what has happened, at the moment that it has."""


class Subscribers:
    """All who want to know, in the order in which they are told; with nobody in it, telling costs nothing."""

    def __init__(self, subscribers: Iterable[Subscriber] = ()) -> None:
        self._subscribers = list(subscribers)

    def add(self, subscriber: Subscriber) -> None:
        """From now on tell this one too."""
        self._subscribers.append(subscriber)

    def tell(self, event: Event) -> None:
        """Tell all of them."""
        for subscriber in self._subscribers:
            subscriber.take(event)

    @property
    def wants_bytes(self) -> bool:
        """Does anybody want the bytes?"""
        return any(subscriber.wants_bytes for subscriber in self._subscribers)

    @property
    def trace(self) -> Trace | None:
        """For `SocketOptions.trace`; None with nobody to tell, so that no certificate is read for nobody."""
        return self.tell if self._subscribers else None
