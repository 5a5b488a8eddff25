"""What a person has entered, one after the other, while the next line is being typed.

A line waits for those before it. Lines that were pasted together are a block: when one of them fails, those behind it
make no sense any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

__all__ = ["Job", "Lines"]

# Below this duration no 'busy' sign is shown.
SLOW_S = 0.3
# Executes one line; False: skip the rest of its block.
Job = Callable[[], Awaitable[bool]]


class Lines:
    """Does the jobs that were entered, in order. `run()` it beside the prompt.

    `on_dropped` is told how many jobs of a block were not done because the one before them failed. `on_slow`: called
    when `is_slow` changes, which says that a job takes so long that one begins to wait.
    """

    def __init__(self, on_dropped: Callable[[int], None], on_slow: Callable[[], None]) -> None:
        self._on_dropped = on_dropped
        self._on_slow = on_slow
        self.is_slow = False
        self._blocks: deque[tuple[Iterable[Job], int]] = deque()
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self._task: asyncio.Future[bool] | None = None

    def add(self, jobs: Iterable[Job], count: int = 1) -> None:
        """Enter a block of so many jobs; each is made when its turn comes."""
        self._blocks.append((jobs, count))
        self._none.clear()
        self._some.set()

    async def finished(self) -> None:
        """Return when all that was entered is done."""
        await self._none.wait()

    def cancel(self) -> int | None:
        """Cancel the running job and those that wait; return how many waited, or None where nothing runs or waits."""
        if self._task is None and not self._blocks:
            return None
        waiting = sum(count for _, count in self._blocks)
        self._blocks.clear()
        if self._task is not None:
            self._task.cancel()
        return waiting

    async def run(self) -> None:
        """Do jobs for ever; what one raises is raised here."""
        while True:
            await self._some.wait()
            while self._blocks:
                await self._run_block(*self._blocks.popleft())
            self._some.clear()
            self._none.set()

    async def _run_block(self, jobs: Iterable[Job], count: int) -> None:
        for number, job in enumerate(jobs, 1):
            if not await self._run_job(job):
                if number < count:
                    self._on_dropped(count - number)
                return

    async def _run_job(self, job: Job) -> bool:
        self._task = task = asyncio.ensure_future(job())
        timer = asyncio.get_running_loop().call_later(SLOW_S, self._set_slow, True)
        try:
            await asyncio.wait({task})
            return not task.cancelled() and task.result()
        finally:
            timer.cancel()
            self._set_slow(False)
            self._task = None
            task.cancel()
            await asyncio.wait({task})

    def _set_slow(self, slow: bool) -> None:
        if slow != self.is_slow:
            self.is_slow = slow
            self._on_slow()
