"""The handler's program of a scenario: what it does with the socket that it is given, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cfcat import Socket
from tests.conformance.data import Json, ScenarioError
from tests.conformance.driver import Driver, Op

__all__ = ["Handler", "Thrown"]

ENDS = ("return", "throw", "never")


class Thrown(Exception):
    """What a handler throws in a scenario."""


class NoConnect(NamedTuple):
    """The driver's scenario, of which only outbound connections matter here."""

    connect: Mapping[str, Json]
    client: Sequence[Op]
    network: str | None = None


class Handler(Driver):
    """Runs one program. `called` and `over` are set when it is called, and when its last op is done; it stays until
    `go` where the program does not say how it ends.
    """

    def __init__(self, program: Sequence[Op], driver: Mapping[str, Any], go: asyncio.Event) -> None:
        super().__init__(NoConnect({}, ()), **driver)
        self._program = list(program)
        self._go = go
        self._background: asyncio.Task[None] | None = None
        self.called = asyncio.Event()
        self.over = asyncio.Event()
        self.error: ScenarioError | None = None  # the program cannot be run

    def hide(self, value: Json) -> Json:
        """Later: the client's port may not be known yet."""
        return value

    async def __call__(self, socket: Socket) -> None:
        """Be the handler."""
        self.called.set()
        self._things["s"] = socket
        self._sockets.append(socket)
        end = next((at for at, op in enumerate(self._program) if op["op"] in ENDS), None)
        await self._try(self._program[:end])
        if end is None or self.error is not None:
            self.over.set()
            await self._go.wait()
            return
        op = self._program[end]
        self.trace.append({"op": op["op"]})
        self._background = asyncio.create_task(self._play_behind(self._program[end + 1 :]))
        if op["op"] == "throw":
            raise Thrown(op["message"])
        if op["op"] == "never":
            await asyncio.Event().wait()

    async def _play_behind(self, ops: Sequence[Op]) -> None:
        """What `ctx.waitUntil()` is given."""
        await self._try(ops)
        self.over.set()

    async def _try(self, ops: Sequence[Op]) -> None:
        try:
            await self.play(ops)
        except ScenarioError as error:
            self.error = error

    async def dispose(self) -> list[str]:
        """As `Driver.dispose`; what runs behind the handler ends, too."""
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait([self._background])
        return await super().dispose()
