"""Attempts that are made again and again: only of the last one everything is told, of the others why they failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cfcat.record.events import Entered, NotReady
from cfcat.record.subscribers import Subscribers

if TYPE_CHECKING:
    from cfcat.record.kept import Event
    from cfcat.record.making import Trace

__all__ = ["Attempts"]


class Attempts:
    """For one series of attempts, whose events go to `events`."""

    def __init__(self, events: Subscribers) -> None:
        self._events = events
        self._now = self._failed = _Held(events)
        self._reason = ""

    def begin(self) -> Subscribers:
        """Whom the next attempt tells."""
        self._now = _Held(self._events)
        return self._now

    def failed(self, reason: str) -> None:
        """It failed, and is made again."""
        self._failed = self._now
        if reason != self._reason:
            self._reason = reason
            self._events.tell(NotReady(reason))

    def succeeded(self) -> None:
        """Tell all of the attempt under way, and from now on at once."""
        self._now.release()

    def gave_up(self) -> None:
        """Tell all of the last attempt that came to its end; where none did, of the one that was cut."""
        (self._failed if self._reason else self._now).release()


class _Held(Subscribers):
    """Keeps what it is told until that is to be told."""

    def __init__(self, events: Subscribers) -> None:
        super().__init__()
        self._events = events
        self._kept: list[Event] | None = []

    def tell(self, event: Event) -> None:
        if self._kept is None:
            self._events.tell(event)
        else:
            self._kept.append(Entered(event.phase, time.monotonic()) if isinstance(event, Entered) else event)

    @property
    def wants_bytes(self) -> bool:
        return self._events.wants_bytes

    @property
    def trace(self) -> Trace | None:
        return self.tell if self._events.trace is not None else None

    def release(self) -> None:
        """Tell what was kept, and from now on at once."""
        kept, self._kept = self._kept or [], None
        for event in kept:
            self._events.tell(event)
