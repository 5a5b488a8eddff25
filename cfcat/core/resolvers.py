"""The threads that resolve names: a few for the whole process, however many connections begin at a time.

`getaddrinfo` cannot be interrupted, so it has daemon threads, which hold up neither a deadline nor the exit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from cfcat.core.loop import Loop
from cfcat.core.promise import Promise, job_for

__all__ = ["MOST_RESOLVERS", "Resolvers", "resolvers"]

T = TypeVar("T")

MOST_RESOLVERS = 16


class Resolvers:
    """Does work in at most MOST_RESOLVERS threads; what is more waits for its turn. A thread without work ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0

    def run(self, loop: Loop, work: Callable[[], T]) -> Promise[T]:
        """Promise what the work returns or raises.

        Cancelling takes it back, if it has not begun. Rejects with OSError (EAGAIN) where no thread can be started.
        """
        promise: Promise[T] = Promise(loop, lambda _: self._take_back(job))
        job = job_for(promise, work)
        try:
            self._begin(job)
        except OSError as error:
            promise.reject(error)
        return promise

    def _take_back(self, job: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._waiting.remove(job)

    def _begin(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(job)
            if self._threads == MOST_RESOLVERS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="cfcat-resolver", daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._threads -= 1
                if self._threads or job not in self._waiting:
                    return  # a thread that runs takes it
                self._waiting.remove(job)
            raise OSError(errno.EAGAIN, "no thread could be started to resolve the name") from error

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                job = self._waiting.popleft()
            job()


resolvers = Resolvers()
os.register_at_fork(after_in_child=resolvers.__init__)  # type: ignore[misc]  # a child has none of the threads
