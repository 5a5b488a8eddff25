"""Named one-shot events that a scenario's server (a thread) and client (an event loop) share."""

from __future__ import annotations

import asyncio
import threading

__all__ = ["Signals"]


class Signals:
    """Each name is set once and stays set. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._set: set[str] = set()
        self._stopped = False
        self._waiters: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []

    def set(self, name: str) -> None:
        with self._condition:
            self._set.add(name)
            self._condition.notify_all()
            for waited, loop, event in self._waiters:
                if waited == name:
                    loop.call_soon_threadsafe(event.set)

    def stop(self) -> None:
        """Let every blocking wait return at once, from now on."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def wait(self, name: str) -> bool:
        """Block until the name is set; False when stopped before."""
        with self._condition:
            self._condition.wait_for(lambda: name in self._set or self._stopped)
            return name in self._set

    async def wait_async(self, name: str, timeout_s: float) -> bool:
        """Wait until the name is set; False after `timeout_s`."""
        event = asyncio.Event()
        waiter = (name, asyncio.get_running_loop(), event)
        with self._condition:
            if name in self._set:
                return True
            self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            with self._condition:
                self._waiters.remove(waiter)
        return True
