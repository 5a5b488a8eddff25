"""What a Worker may connect to: every range at its borders, the forms of an address, places, and the socket's part.

The ranges are written down here once more, as Cloudflare and the runtime have them: a slip in the code is seen.
"""

from __future__ import annotations

import asyncio
import socket as stdlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import pytest

from cfcat import (
    BlockedError,
    ConnectError,
    ConnectTimeout,
    Judgement,
    OptionsError,
    Socket,
    SocketError,
    SocketOptions,
    Verdict,
    WorkersPolicy,
    connect,
    listen,
    make_tls_context,
)
from cfcat.core.trace import Resolved, TraceEvent
from cfcat.core.workers import AS_OF, MOST_SOCKETS, RANGES, judge
from tests.conformance.network import is_public
from tests.core.test_dial import Resolve, found, names
from tests.helpers.aio import run
from tests.helpers.certs import CertSet
from tests.helpers.links import open_descriptors, turns
from tests.helpers.peers import Peer, refusing, serve

pytestmark = pytest.mark.one_python

__all__ = ["names"]

CONNECT_FAILED = "proxy request failed, cannot connect to the specified address"

CLOUDFLARE = """
    173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18 108.162.192.0/18 190.93.240.0/20
    188.114.96.0/20 197.234.240.0/22 198.41.128.0/17 162.158.0.0/15 104.16.0.0/13 104.24.0.0/14 172.64.0.0/13
    131.0.72.0/22 2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32 2a06:98c0::/29
    2c0f:f248::/32
""".split()
LOCAL = "127.0.0.0/8 ::1/128 0.0.0.0/32 ::/128".split()
PRIVATE = "10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 fc00::/7 fe80::/10".split()
RESERVED = "192.0.0.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32 2001::/23 ff00::/8".split()
WHAT = {
    **dict.fromkeys(CLOUDFLARE, ("P1", "Cloudflare's own")),
    **dict.fromkeys(LOCAL, ("P2", "local")),
    **dict.fromkeys(PRIVATE, ("P2", "private")),
    **dict.fromkeys(RESERVED, ("P2", "reserved")),
}
NETWORKS = {text: ip_network(text) for text in WHAT}
PORT = 5432

# The forms of an IPv4 address in an IPv6 address.
EMBEDDED: dict[str, Callable[[IPv4Address], str]] = {
    "mapped": lambda ip: f"::ffff:{ip}",
    "mapped, in hexadecimal": lambda ip: f"::ffff:{int(ip) >> 16:x}:{int(ip) & 0xFFFF:x}",
    "NAT64": lambda ip: f"64:ff9b::{ip}",
    "6to4": lambda ip: f"2002:{int(ip) >> 16:x}:{int(ip) & 0xFFFF:x}::1",
    "translated": lambda ip: f"::ffff:0:{ip}",
    "compatible": lambda ip: f"::{ip}",
}


def ranges_of(ip: str) -> set[str]:
    """Every range that an address is in, by this file's list."""
    address = ip_address(ip)
    return {text for text, network in NETWORKS.items() if address.version == network.version and address in network}


def borders(network: IPv4Network | IPv6Network) -> list[str]:
    """First and last address."""
    return [str(network[0]), str(network[-1])]


def neighbours(network: IPv4Network | IPv6Network) -> list[str]:
    """The addresses before and behind, as far as there are any."""
    last = 2**network.max_prefixlen - 1
    numbers = [int(network[0]) - 1, int(network[-1]) + 1]
    return [str(type(network[0])(number)) for number in numbers if 0 <= number <= last]


# ------------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize("text", NETWORKS)
def test_p1_p2_first_and_last_address_of_every_range(text: str) -> None:
    """P1: Cloudflare's; P2: local, private and reserved. The line for people says which range, and what it is."""
    for ip in borders(NETWORKS[text]):
        verdict = judge(ip, PORT)
        assert verdict.status == "blocked"
        named = {other for other in ranges_of(ip) if verdict.why == f"{ip} is {WHAT[other][1]}, in {other}"}
        assert len(named) == 1
        assert WHAT[named.pop()] == WHAT[text]
        assert verdict.rule == WHAT[text][0]


@pytest.mark.parametrize("text", NETWORKS)
def test_p1_p2_neighbours_of_every_range(text: str) -> None:
    """They are allowed, but for those that are in a range of their own."""
    for ip in neighbours(NETWORKS[text]):
        expected = "blocked" if ranges_of(ip) else "allowed"
        assert (judge(ip, PORT).status, ip) == (expected, ip)


def test_p1_p2_all_ranges_are_known() -> None:
    """Fifteen and seven of Cloudflare's; and the day on which it was so."""
    assert [ip_network(text).version for text in CLOUDFLARE].count(4) == 15
    assert len(CLOUDFLARE) == 22
    assert {each.network: (each.rule, each.what) for each in RANGES} == WHAT
    assert AS_OF.startswith("2026-")


@pytest.mark.parametrize("ip", ["1.1.1.1", "1.0.0.1", "8.8.8.8", "2001:db8::7", "2001:4860:4860::8888", "::2"])
def test_p1_p2_other_addresses_are_allowed(ip: str) -> None:
    """Cloudflare's own resolvers among them: they are in no list."""
    assert judge(ip, PORT) == Verdict(f"[{ip}]:{PORT}" if ":" in ip else f"{ip}:{PORT}", "allowed")


@pytest.mark.parametrize("form", EMBEDDED)
def test_p2_an_ipv4_address_in_an_ipv6_address_is_judged_as_it_is(form: str) -> None:
    """P2 for the mapped ones; the others end at the same place. Every IPv4 range at its borders."""
    for text, network in NETWORKS.items():
        if network.version == 4:
            for ip in borders(network):
                written = EMBEDDED[form](IPv4Address(ip))
                verdict = judge(written, PORT)
                assert (verdict.status, verdict.rule) == ("blocked", WHAT[text][0]), written
                if form == "mapped":
                    assert f"stands for {ip}, which is {WHAT[text][1]}, in " in verdict.why
    for ip in ("8.8.8.8", "11.0.0.0", "104.28.0.0"):
        assert judge(EMBEDDED[form](IPv4Address(ip)), PORT).status == "allowed"


def test_p2_a_zone_is_no_part_of_the_address() -> None:
    """It comes with the answer of the resolver."""
    assert judge("fe80::1%eth0", PORT).rule == "P2"
    assert judge("2001:db8::1%eth0", PORT).status == "allowed"


def test_p2_agrees_with_the_recorded_runtime() -> None:
    """The runner of the scenarios has its own table, which they were recorded against."""
    for network in NETWORKS.values():
        for ip in (*borders(network), *neighbours(network)):
            assert (judge(ip, PORT).rule == "P2") is not is_public(ip)


# ---------------------------------------------------------------------------------------------------- ports


@pytest.mark.parametrize("ip", ["8.8.8.8", "10.0.0.1", "2001:db8::7", "104.16.0.1"])
def test_p3_port_25_is_blocked_everywhere(ip: str) -> None:
    """Before anything is asked about the address; the ports beside it are not."""
    verdict = judge(ip, 25)
    assert (verdict.status, verdict.rule) == ("blocked", "P3")
    assert ip in verdict.why
    assert {judge(ip, port).rule for port in (24, 26, 465, 587)}.isdisjoint({"P3", "P7"})


@pytest.mark.parametrize("port", [80, 443])
def test_p7_the_ports_of_http_get_a_note(port: int) -> None:
    """They are not forbidden; but what is blocked is blocked there too."""
    verdict = judge("8.8.8.8", port)
    assert (verdict.status, verdict.rule) == ("note", "P7")
    assert "fetch()" in verdict.why
    assert judge("10.0.0.1", port).rule == "P2"
    assert {judge("8.8.8.8", beside).status for beside in (port - 1, port + 1, 8080)} == {"allowed"}


# ---------------------------------------------------------------------------------------- several addresses


def judged(*ips: str, port: int = PORT) -> Judgement:
    return WorkersPolicy().judge_all(ips, port)


def test_p9_one_kind_of_addresses() -> None:
    """The verdict is that of each; a reason is told once."""
    assert (judged("8.8.8.8", "9.9.9.9").status, judged("8.8.8.8").rule) == ("allowed", "")
    blocked = judged("10.0.0.1", "104.16.0.1")
    assert (blocked.status, blocked.rule) == ("blocked", "P2")
    assert blocked.reasons == [
        "10.0.0.1 is private, in 10.0.0.0/8 (rule P2)",
        "104.16.0.1 is Cloudflare's own, in 104.16.0.0/13 (rule P1)",
    ]
    http = judged("8.8.8.8", "9.9.9.9", port=443)
    assert (http.status, http.rule, len(http.reasons)) == ("note", "P7", 1)


def test_p9_both_kinds_of_addresses() -> None:
    """It is allowed on those that remain; the note names those that do not."""
    mixed = judged("10.0.0.1", "8.8.8.8", "::1")
    assert (mixed.status, mixed.rule) == ("note", "P9")
    assert [verdict.address for verdict in mixed.left_out] == [f"10.0.0.1:{PORT}", f"[::1]:{PORT}"]
    assert len(mixed.reasons) == 2


class Permitting(WorkersPolicy):
    """Loopback is the internet here; `blocked` is not, whatever it is."""

    def __init__(self, *blocked: str, **more: Any) -> None:
        super().__init__(**more)
        self._blocked = blocked

    def judge(self, ip: str, port: int) -> Verdict:
        return Verdict(ip, "blocked", "P2", f"{ip} is blocked") if ip in self._blocked else Verdict(ip, "allowed")


async def test_p9_only_the_addresses_that_remain_are_tried(names: Resolve) -> None:
    """A name with one of each is connected to; the one left out hears nothing, and a subscriber is told."""
    told: list[Judgement] = []
    policy = Permitting("127.0.0.1", tell=told.append)

    with serve(Peer.recv_until_eof, host="::1") as six, serve(Peer.recv_until_eof) as four:
        names("both.test", lambda _: [found("127.0.0.1", four.port), found("::1", six.port)])
        async with connect("both.test:1", policy=policy) as socket:
            assert (await socket.opened).remote_address == six.address
        assert four.connections == 0
    assert [judgement.reasons for judgement in told] == [["127.0.0.1 is blocked (rule P2)"]]


def test_p7_p9_nobody_is_told_of_what_needs_no_note() -> None:
    """Neither what is allowed nor what is blocked: that is an error."""
    told: list[Judgement] = []
    policy = WorkersPolicy(tell=told.append)
    policy.told(judged("8.8.8.8"))
    policy.told(judged("10.0.0.1"))
    assert told == []
    policy.told(judged("8.8.8.8", port=80))
    assert len(told) == 1


# ------------------------------------------------------------------------------------------------ connect()


async def refusal(address: str, **options: Any) -> BlockedError:
    """What `opened` and `closed` reject with."""
    socket = connect(address, policy=WorkersPolicy(), **options)
    with pytest.raises(BlockedError) as caught:
        await socket.opened
    with pytest.raises(BlockedError) as again:
        await socket.closed
    assert again.value is caught.value
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"])
async def test_p2_blocked_is_not_connected(host: str) -> None:
    """The reference's message, a detail with rule and address; the listener sees nobody."""

    with stdlib.create_server(("", 0), family=stdlib.AF_INET6, dualstack_ipv6=True) as listener:
        listener.setblocking(False)
        error = await refusal(f"{host}:{listener.getsockname()[1]}")
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert isinstance(error, ConnectError)
    assert (error.message, error.rule) == (CONNECT_FAILED, "P2")
    assert "local, in" in error.detail
    assert "(rule P2)" in error.detail
    assert str(error) == f"{error.message}: {error.detail}"


@pytest.mark.parametrize("transport", ["off", "on", "starttls"])
@pytest.mark.parametrize("address", ["172.16.0.1:22", "192.168.0.1:22", "127.0.0.1:80", "[::1]:443"])
def test_p2_as_recorded(address: str, transport: str) -> None:
    """What the runtime says where it reaches public addresses only, with and without TLS; N5's hint on 80 and 443."""
    error = run(refusal(address, secure_transport=transport))
    hint = ". It looks like you might be trying to connect to a HTTP-based service — consider using fetch instead"
    assert error.message == CONNECT_FAILED + (hint if not address.endswith(":22") else "")


def test_p3_port_25_has_a_message_of_its_own() -> None:
    """As documented."""
    error = run(refusal("192.0.2.7:25"))
    assert (error.message, error.rule) == ("Connections to port 25 are prohibited", "P3")
    assert "192.0.2.7" in error.detail


def test_p1_cloudflare_has_the_message_of_a_failure() -> None:
    """With its hint on the ports of HTTP (N5)."""
    assert run(refusal("104.16.0.1:22")).message == CONNECT_FAILED
    assert run(refusal("104.16.0.1:443")).message.startswith(f"{CONNECT_FAILED}. It looks like")


async def test_p4_a_connection_to_itself_is_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends are the same address and port: TCP allows it. Without a policy it is a connection like any other."""
    real = stdlib.socket

    with real() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]

    def from_there(*arguments: Any) -> stdlib.socket:
        sock = real(*arguments)
        sock.bind(("127.0.0.1", port))
        return sock

    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(stdlib, "socket", from_there)
        itself = connect(f"127.0.0.1:{port}")
        info = await itself.opened
        assert info.remote_address == info.local_address
        itself.abort()
        with pytest.raises(BlockedError) as caught:
            await connect(f"127.0.0.1:{port}", policy=Permitting()).opened
    assert open_descriptors() == before
    assert (caught.value.message, caught.value.rule) == ("TCP Loop detected", "P4")
    assert caught.value.detail == f"both ends of the connection are 127.0.0.1:{port} (rule P4)"


def test_p5_there_is_no_global_scope() -> None:
    """A socket is made inside a running loop only, policy or not (A15)."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        connect("192.0.2.7:22", policy=WorkersPolicy())


def test_p8_a_policy_judges_no_connection_that_comes_in() -> None:
    """It is about where a Worker may connect to: a listener refuses to be given one."""
    with pytest.raises(OptionsError, match="a policy is for connect\\(\\)"):
        listen("127.0.0.1:0", policy=WorkersPolicy())


def test_a_policy_is_a_policy() -> None:
    """V15: anything else is a TypeError."""
    with pytest.raises(TypeError, match=r"policy must be WorkersPolicy or None, as .*, not str"):
        SocketOptions(policy="workers")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------- P6: six at the same time


class Program:
    """Six open connections under one policy, to a peer that waits for the end of each."""

    def __init__(self, address: str) -> None:
        self.policy = Permitting()
        self.address = address
        self.traced: list[TraceEvent] = []
        self.six = [connect(address, policy=self.policy) for _ in range(MOST_SOCKETS)]

    def one_more(self, **options: Any) -> Socket:
        return connect(self.address, policy=self.policy, trace=self.traced.append, **options)


@asynccontextmanager
async def program(script: Callable[[Peer], object] = Peer.recv_until_eof) -> AsyncIterator[Program]:
    with serve(lambda conn: script(conn) and None) as server:
        made = Program(server.address)
        await asyncio.gather(*(socket.opened for socket in made.six))
        try:
            yield made
        finally:
            await asyncio.gather(*(socket.close() for socket in made.six))


async def ended_by_close(program: Program) -> None:
    await program.six[3].close()


async def ended_by_abort(program: Program) -> None:
    program.six[3].abort()


async def ended_by_both_ends(program: Program) -> None:
    socket = program.six[3]
    await socket.writable.close()
    assert await socket.readable.get_reader().read() == b""


ENDS: list[Callable[[Program], Awaitable[None]]] = [ended_by_close, ended_by_abort, ended_by_both_ends]


@pytest.mark.parametrize("end", ENDS)
async def test_p6_the_seventh_waits_for_one_to_end(end: Callable[[Program], Awaitable[None]]) -> None:
    """It is not refused, and not begun: not even its name is asked for. However one of the six ends, it begins."""
    async with program() as six:
        assert six.policy.waiting == 0
        seventh = six.one_more()
        await turns(20)
        assert not seventh.opened.done()
        assert (six.policy.waiting, six.traced) == (1, [])
        await end(six)
        await seventh.opened
        assert six.policy.waiting == 0
        assert isinstance(six.traced[0], Resolved)
        await seventh.close()


async def test_p6_the_queue_is_in_order() -> None:
    """One end lets one begin, the first that came."""
    async with program() as six:
        queue = [six.one_more() for _ in range(3)]
        for number, socket in enumerate(queue):
            await turns(20)
            assert not socket.opened.done()
            await six.six[number].close()
            await socket.opened
        await asyncio.gather(*(socket.close() for socket in queue))


async def test_p6_a_connection_in_the_making_counts_and_a_failed_one_does_not() -> None:
    """Six that are refused give their places to the next six, and these to the last."""
    with refusing() as port:
        policy = Permitting()
        sockets = [connect(f"127.0.0.1:{port}", policy=policy) for _ in range(2 * MOST_SOCKETS + 1)]
        for socket in sockets:
            with pytest.raises(ConnectError):
                await socket.opened


async def test_p6_one_that_gives_up_waiting_leaves_the_queue() -> None:
    """A cancelled waiter is skipped and uses no slot."""
    async with program() as six:
        first, second = six.one_more(), six.one_more()
        await turns(5)
        first.abort()
        await turns(5)
        assert not second.opened.done()
        await six.six[0].close()
        await second.opened
        await second.close()
        with pytest.raises(SocketError):
            await first.opened


async def test_p6_the_deadline_runs_while_it_waits() -> None:
    """A program that opens seven and waits for all of them is told why that does not end."""
    async with program() as six:
        with pytest.raises(ConnectTimeout) as caught:
            await six.one_more(connect_timeout=0.05).opened
        assert caught.value.detail == f"{six.address}: 6 other connections were still open (rule P6) after 0.05 s"


async def test_p6_an_upgraded_connection_keeps_its_place(certs: CertSet) -> None:
    """It is one connection, before and after; it counts until it has ended."""

    def script(conn: Peer) -> None:
        if conn.recv_until(b"\n") == b"STARTTLS\n":
            conn.send(b"go\n")
            conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    with serve(script) as server:
        policy = Permitting()
        options: dict[str, Any] = {
            "policy": policy,
            "secure_transport": "starttls",
            "tls": make_tls_context(cacert=certs.ca),
        }
        six = [connect(server.address, **options) for _ in range(MOST_SOCKETS)]
        plain = six[0]
        for socket in six:
            await socket.writable.get_writer().write(b"STARTTLS\n" if socket is plain else b"-\n")
        assert await plain.readable.get_reader().read() == b"go\n"
        secure = plain.start_tls()
        await secure.opened
        assert plain.upgraded
        seventh = connect(server.address, **options)
        await turns(20)
        assert not seventh.opened.done()
        await secure.close()
        await seventh.opened
        await seventh.writable.get_writer().write(b"-\n")
        await asyncio.gather(*(socket.close() for socket in (*six[1:], seventh)))


async def test_p6_a_failed_upgrade_of_an_ended_side_keeps_the_place() -> None:
    """The clear-text connection is still there, and read from (S14)."""
    with serve(Peer.hang) as server:
        policy = Permitting()
        options: dict[str, Any] = {"policy": policy, "secure_transport": "starttls"}
        six = [connect(server.address, **options) for _ in range(MOST_SOCKETS)]
        await six[0].opened
        await six[0].writable.close()
        with suppress(SocketError):
            await six[0].start_tls().opened
        seventh = connect(server.address, **options)
        await turns(20)
        assert not seventh.opened.done()
        six[0].abort()
        await seventh.opened
        for socket in (*six, seventh):
            socket.abort()


async def test_p6_two_invocations_do_not_wait_for_each_other() -> None:
    """A policy is one invocation's."""
    async with program() as six, program() as others:
        assert six.policy is not others.policy


async def test_p6_without_a_policy_there_is_no_limit() -> None:
    """O7: as the runtime alone."""
    async with program() as six:
        socket = connect(six.address)
        await socket.opened
        await socket.close()


def test_p6_a_place_given_up_twice_is_given_up_once() -> None:
    """`leave` does no harm when called again."""
    policy = WorkersPolicy()
    begun: list[int] = []
    leaves = [policy.enter(lambda number=number: begun.append(number)) for number in range(9)]  # type: ignore[misc]
    assert begun == [0, 1, 2, 3, 4, 5]
    leaves[2]()
    leaves[2]()
    assert begun == [0, 1, 2, 3, 4, 5, 6]
