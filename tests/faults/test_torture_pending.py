"""Row 59 of the fault matrix: whatever is done while anything is pending, everything settles, once.

Every phase of a socket, and every two of the things that can be done to it then, one after the other.
"""

from __future__ import annotations

import asyncio
import itertools
import socket as sockets
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from cfcat import ClosedError, Socket, SocketError, connect, make_tls_context
from tests.helpers.certs import CertSet
from tests.helpers.links import BIG, open_descriptors, turns
from tests.helpers.peers import blackhole

DEADLINE_S = 10.0
# More than the buffers of two sockets hold.
WRITES = 8


class Scene:
    """One connection, its upgrade where there is one, and all that was begun on them."""

    def __init__(self, first: Socket, listener: sockets.socket | None) -> None:
        self.sockets = [first]
        self.listener = listener
        self.reader = first.readable.get_reader()
        self.writer = first.writable.get_writer()
        self.begun: list[asyncio.Future[Any]] = []
        self.begin(self.reader.read())

    @property
    def last(self) -> Socket:
        return self.sockets[-1]

    def begin(self, operation: Awaitable[Any]) -> None:
        """Wait for it as a caller would, in a task."""
        self.begun.append(asyncio.ensure_future(operation))

    def write(self) -> None:
        """More than the peer will ever take."""
        for _ in range(WRITES):
            self.begin(self.writer.write(BIG))

    def write_and_end(self) -> None:
        self.write()
        self.begin(self.writer.close())

    def write_and_close(self) -> None:
        self.write()
        self.begin(self.last.close())

    def write_and_upgrade(self) -> None:
        self.write()
        self.upgrade()

    def upgrade(self) -> None:
        """Refused where it cannot be: that changes nothing."""
        with suppress(SocketError):
            self.sockets.append(self.last.start_tls())
            self.begin(self.last.opened)

    def cancel_waiters(self) -> None:
        for task in self.begun:
            task.cancel()

    def reset(self) -> None:
        """Let the peer do it, where there is one."""
        if self.listener is not None:
            with suppress(BlockingIOError):
                peer = self.listener.accept()[0]
                peer.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()

    async def outcomes(self) -> dict[str, object]:
        """What `opened` and `closed` of each socket have come to, as far as they have: a value or an error."""
        found: dict[str, object] = {}
        for number, each in enumerate(self.sockets):
            for name, operation in (("opened", each.opened), ("closed", each.closed)):
                if operation.done():
                    (found[f"{number}.{name}"],) = await asyncio.gather(operation, return_exceptions=True)
        return found


# The peer of each phase, and what is begun then. A peer is a listener that does not accept: it takes what its buffers
# hold, and says nothing.
PHASES: dict[str, tuple[str, Callable[[Scene], object]]] = {
    "resolving": ("resolver", lambda scene: None),
    "connecting": ("blackhole", lambda scene: None),
    "shaking hands": ("tls", lambda scene: None),
    "reading": ("peer", lambda scene: None),
    "writing": ("peer", Scene.write),
    "ending": ("peer", Scene.write_and_end),
    "closing": ("peer", Scene.write_and_close),
    "upgrading, unconnected": ("blackhole", Scene.upgrade),
    "upgrading, flushing": ("peer", Scene.write_and_upgrade),
    "upgrading, shaking hands": ("peer", Scene.upgrade),
}
ACTIONS: dict[str, Callable[[Scene], object]] = {
    "close": lambda scene: scene.begin(scene.last.close()),
    "close the first": lambda scene: scene.begin(scene.sockets[0].close()),
    "abort": lambda scene: scene.last.abort(),
    "abort the first": lambda scene: scene.sockets[0].abort(),
    "cancel the waiters": Scene.cancel_waiters,
    "abort writing": lambda scene: scene.begin(scene.writer.abort("why")),
    "cancel reading": lambda scene: scene.begin(scene.reader.cancel("why")),
    "end": lambda scene: scene.begin(scene.writer.close()),
    "upgrade": Scene.upgrade,
    "reset": Scene.reset,
}


@contextmanager
def peer_of(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, sockets.socket | None]]:
    """An address, and the listener behind it."""
    if kind == "resolver":
        with monkeypatch.context() as patch, hanging_resolver(patch):
            yield "name.test:25", None
    elif kind == "blackhole":
        with blackhole() as port:
            yield f"127.0.0.1:{port}", None
    else:
        with sockets.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            yield f"127.0.0.1:{listener.getsockname()[1]}", listener


@contextmanager
def hanging_resolver(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names are not answered while the block runs."""
    answer = threading.Event()

    def getaddrinfo(*arguments: Any) -> list[Any]:
        if arguments[-1] != sockets.AI_NUMERICHOST:
            answer.wait(DEADLINE_S)
        raise sockets.gaierror(sockets.EAI_NONAME, "no such name")

    patch.setattr(sockets, "getaddrinfo", getaddrinfo)
    try:
        yield
    finally:
        answer.set()
        for thread in threading.enumerate():
            if thread.name == "cfcat-resolver":
                thread.join(DEADLINE_S)


async def play(scene: Scene, actions: tuple[str, str], pause: int) -> None:
    """Do it, drop what is left, and look at what everything has come to."""
    for name in actions:
        ACTIONS[name](scene)
        await turns(pause)
    before = await scene.outcomes()
    if isinstance(before.get("0.closed"), BaseException):
        assert all(f"{number}.opened" in before for number in range(len(scene.sockets))), (
            "V12: what replaces it fails too"
        )
    for each in scene.sockets:
        each.abort()
    rest: list[Awaitable[Any]] = [*scene.begun, scene.reader.closed, scene.writer.closed]
    rest += [operation for each in scene.sockets for operation in (each.opened, each.closed, each.close())]
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in rest]
    _, pending = await asyncio.wait(tasks, timeout=DEADLINE_S)
    assert not pending, [tasks.index(task) for task in pending]
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        assert error is None or isinstance(error, SocketError), error
    after = await scene.outcomes()
    assert len(after) == 2 * len(scene.sockets)
    assert {name: after[name] for name in before} == before, "it settled twice"
    for number in range(len(scene.sockets)):
        opened, closed = after[f"{number}.opened"], after[f"{number}.closed"]
        if isinstance(opened, BaseException) and not isinstance(opened, ClosedError):
            assert closed is opened


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.deadline(50)
async def test_row_59_everything_settles_once(phase: str, certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """`opened` and `closed`, every read and write: with a value or one error, and nothing is left open."""
    kind, begin = PHASES[phase]
    context = make_tls_context(cacert=certs.ca)
    mode = "on" if kind == "tls" else "starttls"

    for pause, actions in enumerate(itertools.product(ACTIONS, ACTIONS)):
        before = open_descriptors()
        with peer_of(kind, monkeypatch) as (address, listener):
            scene = Scene(connect(address, secure_transport=mode, tls=context), listener)  # type: ignore[arg-type]
            if kind == "peer" and phase != "upgrading, unconnected":
                await scene.last.opened
            begin(scene)
            await turns(6)
            try:
                await play(scene, actions, pause % 4)
            except BaseException as error:
                error.add_note(f"{phase}: {' and '.join(actions)}, {pause % 4} turns each")
                raise
            scene.reset()  # the listener's own
        await turns(3)
        assert open_descriptors() == before, f"{phase}: {' and '.join(actions)}"
