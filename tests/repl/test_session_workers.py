"""`:workers` and `:set workers on`: whether a Worker could connect, and a session that connects as one."""

from __future__ import annotations

import pytest

from cfcat import BlockedError, ResolveError
from cfcat.core import workers
from cfcat.core.workers import AS_OF
from tests.core.test_dial import Resolve, found, names
from tests.helpers.peers import Peer, serve
from tests.repl.conftest import opened

__all__ = ["names"]

CONNECT_FAILED = "proxy request failed, cannot connect to the specified address"


async def test_workers_says_what_becomes_of_the_target() -> None:
    """Verdict and reason; the connection that there is stays as it is."""
    with serve(Peer.recv_until_eof) as server:
        async with opened(server.address) as (session, face):
            await session.execute(":workers")
            assert face.notices == [
                f"{server.address}: blocked in a Worker, as of {AS_OF}: {CONNECT_FAILED}\n"
                f"  {server.address}: blocked: 127.0.0.1 is local, in 127.0.0.0/8 (rule P2)"
            ]
            assert session.prompt_state.marks == ()


async def test_workers_resolves_once_more(names: Resolve) -> None:
    """A name may have other addresses by now, or none."""
    with serve(Peer.recv_until_eof) as server:
        names("host.test", lambda _: [found("127.0.0.1", server.port)])
        async with opened("host.test:22") as (session, face):
            names("host.test", lambda _: [found("192.0.2.7", 22), found("2001:db8::7", 22)])
            await session.execute(":workers")
            assert face.notices == [
                f"host.test:22: allowed in a Worker, as of {AS_OF}\n"
                "  192.0.2.7:22: allowed\n  [2001:db8::7]:22: allowed"
            ]
            names("host.test", lambda _: [])
            with pytest.raises(ResolveError):
                await session.execute(":workers")


async def test_set_workers_on_is_for_the_next_connection() -> None:
    """It is blocked then, with a hint that can be typed here; off, and it is made again."""
    with serve(Peer.recv_until_eof) as server:
        async with opened(server.address) as (session, _):
            await session.execute(":set workers on")
            assert not session.is_closed
            with pytest.raises(BlockedError) as caught:
                await session.execute(":open")
            text, hint = session.explain(caught.value)
            assert text == f"{server.address}: blocked as in a Worker: {CONNECT_FAILED}"
            reason = "127.0.0.1 is local, in 127.0.0.0/8 (rule P2)"
            assert hint == f"{reason}; after :set workers off it is tried all the same"
            assert session.is_closed
            await session.execute(":set workers off")
            await session.execute(":open")
            assert not session.is_closed


async def test_workers_of_the_command_line_holds_from_the_first_connection(
    names: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left out is told of as a notice."""
    public = tuple(each for each in workers.RANGES if each.what != "local")
    monkeypatch.setattr(workers, "RANGES", public)
    with serve(Peer.recv_until_eof) as server:
        names("both.test", lambda _: [found("10.0.0.1", 22), found("127.0.0.1", server.port)])
        async with opened("both.test:22", workers="on") as (_, face):
            assert face.notices == [
                "note: allowed in a Worker, without some addresses: 10.0.0.1 is private, in 10.0.0.0/8 (rule P2)"
            ]
