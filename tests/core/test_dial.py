"""From names to one connected socket: racing, families, failures, the resolver.

Names with several addresses come from a stand-in for `socket.getaddrinfo`, the seam that the operating system's
resolver has; the sockets are real, and every address is loopback.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from cfcat import BlockedError, ConnectError, ConnectTimeout, ResolveError, Verdict, WorkersPolicy, connect
from cfcat.core import dial as dialling
from cfcat.core import race
from cfcat.core.address import parse_address
from cfcat.core.dial import Route, connect_failed, dial
from cfcat.core.race import Address
from tests.helpers.aio import run
from tests.helpers.links import open_descriptors, turns, until
from tests.helpers.peers import Peer, blackhole, refusing, serve

CONNECT_FAILED = "proxy request failed, cannot connect to the specified address"
SLACK_S = 0.75  # for a busy machine; what is measured begins at 0.25 s

Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


def found(host: str, port: int) -> Found:
    """One line of the resolver's answer; each may have a port of its own here."""
    if ":" in host:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))


Resolve = Callable[[str, Callable[[int], Iterable[Found]]], None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Let a name be answered by a function of the family asked for; every other name goes to the real resolver."""
    answers: dict[bytes, Callable[[int], Iterable[Found]]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: bytes, port: int, family: int = 0, kind: int = 0, protocol: int = 0, flags: int = 0) -> Any:
        if host not in answers:
            return real(host, port, family, kind, protocol, flags)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(answers[host](family))

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def answer(name: str, by: Callable[[int], Iterable[Found]]) -> None:
        answers[name.encode()] = by

    return answer


@pytest.fixture
def no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The race goes on by what happens, or not within the test's deadline."""
    monkeypatch.setattr(race, "ATTEMPT_DELAY_S", 60.0)


async def peer_of(address: str, **options: Any) -> tuple[str, int]:
    """Dial, and tell whom that reached."""
    sock, round_trip_s, _ = await dial(parse_address(address), **options)
    with sock:
        assert 0 < round_trip_s < 5
        assert sock.getblocking() is False
        host, port = sock.getpeername()[:2]
    return host, port


class Allowing(WorkersPolicy):
    """Addresses that a function says yes to."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        super().__init__()
        self._allowed = allowed

    def judge(self, ip: str, port: int) -> Verdict:
        return Verdict(ip, "allowed") if self._allowed(ip) else Verdict(ip, "blocked", "P2", f"{ip} is not allowed")


def hold(conn: Peer) -> None:
    conn.recv_until_eof()


# -------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("family", [None, "same"])
def test_an_address_is_connected_to(host: str, family: str | None) -> None:
    """A10: with and without its family asked for."""
    wanted = ("ipv6" if ":" in host else "ipv4") if family else None
    with serve(hold, host=host) as server:
        assert run(peer_of(server.address, route=Route(wanted))) == (host, server.port)


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f.1", "[::ffff:7f00:1]", "LocalHost"])
def test_a9_every_spelling_is_left_to_the_resolver(spelling: str) -> None:
    """A9: the check against forbidden addresses therefore looks at what was resolved."""
    with serve(hold) as server:
        seen: list[str] = []

        def look(ip: str) -> bool:
            seen.append(ip)
            return True

        run(peer_of(f"{spelling}:{server.port}", policy=Allowing(look)))
    assert set(seen) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


async def test_an_address_needs_no_thread() -> None:
    """What is a number already is not a matter for the resolver."""
    with serve(hold) as server:
        before = threading.active_count()

        task = asyncio.create_task(peer_of(server.address))
        await turns(1)
        assert not any(thread.name == "cfcat-resolver" for thread in threading.enumerate())
        await task
    assert threading.active_count() <= before


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_the_family_filters(family: str, names: Resolve) -> None:
    """`-4` and `-6`: the resolver is asked for that family only."""
    with serve(hold) as four, serve(hold, host="::1") as six:
        both = {socket.AF_INET: found("127.0.0.1", four.port), socket.AF_INET6: found("::1", six.port)}
        names("both.test", lambda asked: [both[socket.AddressFamily(asked)]] if asked else both.values())
        expected = four if family == "ipv4" else six
        assert run(peer_of("both.test:1", route=Route(family))) == (expected.host, expected.port)


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "ipv6"), ("[::1]", "ipv4")])
async def test_an_address_of_the_other_family_does_not_exist(host: str, family: str) -> None:
    """`-6 127.0.0.1` is an error of resolving, not of connecting."""
    with pytest.raises(ResolveError):
        await dial(parse_address(f"{host}:1"), Route(family))


def test_families_alternate_beginning_with_the_resolvers_first() -> None:
    """RFC 8305 §4."""
    six = [Address(socket.AF_INET6, (f"::{n}", 1, 0, 0)) for n in range(3)]
    four = [Address(socket.AF_INET, (f"127.0.0.{n}", 1)) for n in range(2)]
    mixed = dialling._interleave([*six, *four])
    assert mixed == [six[0], four[0], six[1], four[1], six[2]]
    assert dialling._interleave([*four, *six])[:2] == [four[0], six[0]]


# ---------------------------------------------------------------------------------------------- the race


@pytest.mark.usefixtures("no_timer")
def test_n8_the_next_address_is_tried_at_once_when_one_refuses(names: Resolve) -> None:
    """N8, row 6: no 250 ms are lost over it."""
    with refusing("::1") as dead, serve(hold) as server:
        names("two.test", lambda _: [found("::1", dead), found("127.0.0.1", server.port)])
        assert run(peer_of("two.test:1")) == ("127.0.0.1", server.port)


def test_row_7_a_blackholed_address_costs_250_ms(names: Resolve) -> None:
    """Row 7, RFC 8305: the second attempt begins then, and wins; the first is given up."""
    before = open_descriptors()
    with blackhole() as port, serve(hold) as server:
        names("two.test", lambda _: [found("127.0.0.1", port), found("127.0.0.1", server.port)])
        began = time.monotonic()
        assert run(peer_of("two.test:1")) == ("127.0.0.1", server.port)
        assert 0.25 <= time.monotonic() - began < 0.25 + SLACK_S
    assert open_descriptors() == before


def test_a_refusal_while_another_attempt_hangs_starts_the_next_at_once(
    names: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305 §5: the delay is there for silence only, so it is lost once here and not twice."""
    monkeypatch.setattr(race, "ATTEMPT_DELAY_S", 0.8)
    with blackhole() as silent, refusing() as dead, serve(hold) as server:
        order = [silent, dead, server.port]
        names("three.test", lambda _: [found("127.0.0.1", port) for port in order])
        began = time.monotonic()
        assert run(peer_of("three.test:1"))[1] == server.port
        assert 0.8 <= time.monotonic() - began < 0.8 + SLACK_S


@pytest.mark.usefixtures("no_timer")
def test_the_first_address_wins_if_it_answers_in_time(names: Resolve) -> None:
    """Nobody else is bothered."""
    with serve(hold) as first, serve(hold) as second:
        names("two.test", lambda _: [found("127.0.0.1", server.port) for server in (first, second)])
        assert run(peer_of("two.test:1"))[1] == first.port
    assert second.connections == 0


@pytest.mark.parametrize("turned", range(12))
def test_cancelling_at_any_turn_of_the_race_leaves_no_descriptor(
    turned: int, names: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 59: also when one has just won and the others are being given up."""
    monkeypatch.setattr(race, "ATTEMPT_DELAY_S", 0.01)
    won = threading.Event()

    def script(conn: Peer) -> None:
        won.set()
        conn.recv_until_eof()

    async def main() -> None:
        task = asyncio.create_task(dial(parse_address("two.test:1")))
        await until(won.is_set)
        await turns(turned)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result().sock.close()

    before = open_descriptors()
    with blackhole() as port, serve(script) as server:
        names("two.test", lambda _: [found("127.0.0.1", port), found("127.0.0.1", server.port)])
        run(main())
    assert open_descriptors() == before


# ---------------------------------------------------------------------------------------------- failures


async def failure(address: str, kind: type[ConnectError] = ConnectError, **options: Any) -> ConnectError:
    with pytest.raises(kind) as caught:
        await dial(parse_address(address), **options)
    assert caught.value.message == CONNECT_FAILED
    return caught.value


def test_row_5_all_refused_names_every_address(names: Resolve) -> None:
    """Row 5: the reason once, if it is the same for all; `attempts` has each with its error and time."""
    with refusing("::1") as six, refusing() as four:
        names("two.test", lambda _: [found("::1", six), found("127.0.0.1", four)])
        error = run(failure("two.test:70"))
    assert error.detail == "two.test:70: connection refused (tried ::1, 127.0.0.1)"
    assert [attempt.address for attempt in error.attempts] == [f"[::1]:{six}", f"127.0.0.1:{four}"]
    assert all(isinstance(attempt.error, ConnectionRefusedError) for attempt in error.attempts)
    assert all(0 <= attempt.seconds < 5 for attempt in error.attempts)
    assert isinstance(error.__cause__, ConnectionRefusedError)


def test_families_alternate_in_the_race(names: Resolve) -> None:
    """RFC 8305 §4: a dead IPv6 network must not use up the time before IPv4 gets its turn."""
    with refusing("::1") as one, refusing("::1") as two, refusing() as four:
        names("three.test", lambda _: [found("::1", one), found("::1", two), found("127.0.0.1", four)])
        tried = [attempt.address for attempt in run(failure("three.test:70")).attempts]
    assert tried == [f"[::1]:{one}", f"127.0.0.1:{four}", f"[::1]:{two}"]


def test_differing_reasons_are_each_named(names: Resolve) -> None:
    """A port of 0 cannot be connected to; what the system says of it differs from a refusal."""
    with refusing() as dead:
        names("two.test", lambda _: [found("127.0.0.1", dead), found("255.255.255.255", 9)])
        error = run(failure("two.test:70"))
    assert error.detail.startswith("two.test:70: could not connect (127.0.0.1: connection refused, 255.255.255.255: ")


def test_one_address_is_not_named_twice() -> None:
    """What was typed is what was tried."""
    with refusing() as port:
        assert run(failure(f"127.0.0.1:{port}")).detail == f"127.0.0.1:{port}: connection refused"


def test_an_address_that_was_answered_twice_is_tried_once(names: Resolve) -> None:
    """Some resolvers repeat themselves."""
    with refusing() as port:
        names("twice.test", lambda _: [found("127.0.0.1", port)] * 2)
        assert len(run(failure("twice.test:1")).attempts) == 1


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", "a" * 64 + ".test", "-", "1.2.3.4.5"])
def test_row_1_a_name_that_does_not_exist(host: str, names: Resolve) -> None:
    """Rows 1, 4: whatever is wrong with it, it is a ResolveError with the resolver's words."""

    def nobody(_: int) -> Iterable[Found]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if host.endswith(".invalid"):  # the others do not leave this machine
        names(host, nobody)
    error = run(failure(f"{host}:25", ResolveError))
    assert isinstance(error, ResolveError)
    assert error.detail.startswith(f"{host}:25: ")
    assert not error.temporary
    assert error.attempts == ()
    if host.endswith(".invalid"):
        assert error.detail == f"{host}:25: name or service not known"
        assert isinstance(error.__cause__, socket.gaierror)


def test_row_2_a_temporary_failure_says_so(names: Resolve) -> None:
    """Row 2: there may be no network just now."""

    def later(_: int) -> Iterable[Found]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    names("later.test", later)
    error = run(failure("later.test:25", ResolveError))
    assert isinstance(error, ResolveError)
    assert error.temporary
    assert error.detail == "later.test:25: temporary failure in name resolution"


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), UnicodeError("label too long")])
def test_whatever_the_resolver_raises_is_a_connect_error(error: Exception, names: Resolve) -> None:
    """Rows 4, 50: no exception of another kind escapes."""

    def broken(_: int) -> Iterable[Found]:
        raise error

    names("broken.test", broken)
    assert run(failure("broken.test:25")).__cause__ is error


def test_a_resolver_without_an_answer_is_a_resolve_error(names: Resolve) -> None:
    """An empty list is no address."""
    names("empty.test", lambda _: [])
    run(failure("empty.test:25", ResolveError))


async def test_a6_a_target_that_names_nothing_is_a_resolve_error() -> None:
    """A6: it got past the syntax, and ends here."""
    with pytest.raises(ResolveError, match="not a host name"):
        await dial(parse_address("[::1]:25")._replace(host=""))


def test_p2_addresses_that_are_not_allowed_do_not_exist(names: Resolve) -> None:
    """P2, P9: they are dropped, no attempt is made; with none left there is an error that says why."""
    with serve(hold) as server, serve(hold, host="::1") as other:
        names("two.test", lambda _: [found("127.0.0.1", server.port), found("::1", other.port)])
        assert run(peer_of("two.test:1", policy=Allowing(lambda ip: ip == "::1"))) == ("::1", other.port)
        error = run(failure("two.test:1", BlockedError, policy=Allowing(lambda _: False)))
        assert error.detail == "127.0.0.1 is not allowed (rule P2); ::1 is not allowed (rule P2)"
        assert error.attempts == ()
    assert server.connections == 0


def test_n5_the_hint_goes_by_the_ports_value() -> None:
    """N5: for 80 and 443 only."""
    for port, hinted in (("80", True), ("0443", True), ("8080", False)):
        message = connect_failed(parse_address(f"localhost:{port}"), "").message
        assert message.startswith(CONNECT_FAILED)
        assert ("fetch" in message) == hinted


def test_row_10_an_address_that_cannot_be_assigned_is_told_in_the_systems_words() -> None:
    """Row 10: the address of a multicast group, say, has no stream sockets."""
    error = run(failure("224.0.0.1:9"))
    assert error.detail.startswith("224.0.0.1:9: ")
    assert isinstance(error.attempts[0].error, OSError)


async def test_row_50_no_descriptors_left_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 50: the socket cannot even be made."""

    def no_socket(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", no_socket)
        error = await failure("127.0.0.1:9")
    assert error.detail == "127.0.0.1:9: too many open files"


# -------------------------------------------------------------------------------------- a resolver that hangs


def test_row_3_a_hanging_resolver_holds_up_neither_deadline_nor_loop(names: Resolve) -> None:
    """Row 3: the deadline covers it, other tasks run, and the loop can end; a late answer goes nowhere."""
    asked, answer = threading.Event(), threading.Event()

    def hang(_: int) -> Iterable[Found]:
        asked.set()
        answer.wait(20)
        return [found("127.0.0.1", 9)]

    names("slow.test", hang)

    async def main() -> None:
        waiting = connect("slow.test:25", connect_timeout=0.05)
        with pytest.raises(ConnectTimeout, match="no connection after"):
            await waiting.opened
        forgotten = connect("slow.test:25")
        await until(asked.is_set)
        assert not forgotten.opened.done()

    before = open_descriptors()
    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 5
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "cfcat-resolver":
            assert thread.daemon
            thread.join(5)
            assert not thread.is_alive()
    assert open_descriptors() == before


async def test_resolving_does_not_block_the_loop(names: Resolve) -> None:
    """Other tasks go on while a name is looked up."""
    go = threading.Event()

    def slow(_: int) -> Iterable[Found]:
        assert go.wait(5)
        return [found("127.0.0.1", server.port)]

    names("slow.test", slow)
    with serve(hold) as server:
        task = asyncio.create_task(peer_of("slow.test:1"))
        await turns(10)
        assert not task.done()
        go.set()
        assert (await task)[1] == server.port
