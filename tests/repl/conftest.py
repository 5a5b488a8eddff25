"""A session without a face to look at: one that records, and a way to wait for what it records."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cfcat import make_tls_context
from cfcat.core.options import SocketOptions
from cfcat.errors import CommandError
from cfcat.repl.session import Session
from cfcat.repl.settings import Settings
from cfcat.report.messages import Message
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script
from tests.pipe.conftest import either
from tests.servers import conftest as servers

__all__ = [
    "DEADLINE_S",
    "Recorder",
    "echo",
    "either",
    "greeting",
    "lines_on_demand",
    "opened",
    "refused",
    "session_for",
    "trusting",
]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """What is done about dovecot with the other tests of daemons."""
    return servers.pytest_runtest_protocol(item, nextitem) if item.path.stem == "test_servers" else None


class Recorder:
    """A face that keeps everything. While `free` is not set, what has arrived does not get shown."""

    def __init__(self) -> None:
        self.arrived = b""
        self.received = b""
        self.notices: list[str] = []
        self.errors: list[Message] = []
        self.questions: list[str] = []
        self.answer = False
        self.texts: list[str] = []
        self.secret: str | None = None
        self.changes = 0
        self.free = asyncio.Event()
        self.free.set()
        self._news = asyncio.Event()

    async def show_received(self, data: bytes) -> None:
        self.arrived += data
        self._news.set()
        await self.free.wait()
        self.received += data
        self._news.set()

    def show_notice(self, text: str) -> None:
        self.notices.append(text)
        self._news.set()

    def show_error(self, message: Message) -> None:
        self.errors.append(message)
        self._news.set()

    def state_changed(self) -> None:
        self.changes += 1
        self._news.set()

    async def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer

    def show_text(self, text: str) -> None:
        self.texts.append(text)
        self._news.set()

    async def ask_secret(self, prompt: str) -> str | None:
        self.questions.append(prompt)
        return self.secret

    def end_within(self, seconds: float) -> bool:
        return False

    async def until(self, fact: Callable[[], object]) -> None:
        """Wait until something that is shown makes this true. The test itself has the deadline."""
        while not fact():
            self._news.clear()
            await self._news.wait()

    async def until_received(self, data: bytes) -> None:
        await self.until(lambda: data in self.received)


@asynccontextmanager
async def opened(target: str, transport: str = "off", **more: Any) -> AsyncIterator[tuple[Session, Recorder]]:
    """An open session with its face; it is shut at the end. `more`: fields of `Settings` or `SocketOptions`."""
    own = {name: more.pop(name) for name in list(more) if name in Settings.__slots__}
    face = Recorder()
    options = SocketOptions(**{"secure_transport": transport, "connect_timeout": 10.0, **more})
    session = Session(target, options, face, Settings(**own))
    try:
        await session.open()
        yield session, face
    finally:
        await session.shut()


def session_for(target: str, face: Recorder) -> Session:
    """A session that nobody has opened, with nothing but defaults."""
    return Session(target, SocketOptions(), face, Settings())


def trusting(certs: CertSet) -> ssl.SSLContext:
    """What `--cacert` makes."""
    return make_tls_context(cacert=certs.ca)


# ------------------------------------------------------------------------------------------- peers and lines

DEADLINE_S = 10.0


def echo(conn: Peer) -> None:
    """Give every byte back, to the end."""
    while data := conn.recv():
        conn.send(data)


def greeting(text: bytes) -> Script:
    """Say this, then listen to the end."""

    def script(conn: Peer) -> None:
        conn.send(text)
        conn.recv_until_eof()

    return script


def lines_on_demand(*answers: bytes) -> Script:
    """Answer each line with the next of these, then listen."""

    def script(conn: Peer) -> None:
        for answer in answers:
            conn.recv_until(b"\n")
            conn.send(answer)
        conn.recv_until_eof()

    return script


async def refused(session: Session, line: str) -> CommandError:
    """Execute a line that cannot be done."""
    with pytest.raises(CommandError) as caught:
        await session.execute(line)
    return caught.value
