"""From a target to one connected socket: what a dialer is, and the direct one.

`sockets` takes what a dialer makes and does not know how it was made: `proxy` has another dialer. The direct one
resolves the target, has `race` connect to the addresses, and says what became of each. Source: RFC 8305 §4 (families
alternate); rules N4, N5, A9, A10. The deadline is the caller's.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cfcat.core.address import ANYWHERE, Target
from cfcat.core.loop import Loop, running_loop
from cfcat.core.race import Address, Dialed, Reach, race
from cfcat.core.waiting import in_time, is_writable
from cfcat.errors import (
    CONNECT_FAILED,
    Attempt,
    BlockedError,
    ConnectError,
    ConnectTimeout,
    ResolveError,
    reason_of,
    shortened,
)

if TYPE_CHECKING:
    from cfcat.core.watched import Capture
    from cfcat.core.workers import Judgement, Verdict, WorkersPolicy
    from cfcat.record.making import Trace

__all__ = [
    "Dialer",
    "Direct",
    "Route",
    "addresses_of",
    "assess",
    "blocked",
    "connect_failed",
    "dial",
    "dial_any",
    "failure_message",
    "find",
    "need_host",
    "tell",
]

HTTP_HINT = ". It looks like you might be trying to connect to a HTTP-based service \u2014 consider using fetch instead"
REFUSALS = {"P3": "Connections to port 25 are prohibited", "P4": "TCP Loop detected"}
FAMILIES = {None: socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
TEMPORARY = frozenset({socket.EAI_AGAIN})


class Route(NamedTuple):
    """What addresses are connected to, and from which.

    `family`: "ipv4" or "ipv6" alone. `source`: where from; the host "" and the port 0 are any. `resolve`: the addresses
    of names, as `host:port`, for which no resolver is asked. `capture`: is told what passes.
    """

    family: str | None = None
    source: Target | None = None
    resolve: Mapping[str, Sequence[str]] | None = None
    capture: Capture | None = None


ANY_ROUTE = Route()


class Dialer(Protocol):
    """Turns a target into a connected, non-blocking socket.

    It raises ConnectError, with its attempts, where there is none; cancelling closes everything that was begun. `trace`
    is told what happens on the way, but not that the connection is up: the caller that takes the socket reports that.
    """

    async def __call__(self, target: Target, *, trace: Trace | None) -> Dialed: ...

    def missing(self, target: Target) -> str:
        """What has not come about by now, for the message of a deadline: "mail.example:25: no connection"."""


def failure_message(port: int) -> str:
    """The reference's one text for every failure to connect (N4), with its hint for HTTP ports (N5)."""
    from cfcat.core.workers import HTTP_PORTS  # lazy: a failure only

    return CONNECT_FAILED + HTTP_HINT if port in HTTP_PORTS else CONNECT_FAILED


def connect_failed(target: Target, detail: str, attempts: Sequence[Attempt] = ()) -> ConnectError:
    return ConnectError(failure_message(target.port), detail, attempts)


def blocked(target: Target, *verdicts: Verdict) -> BlockedError:
    """The error that a Worker would get (P1-P4); its detail names the rule and the addresses."""
    from cfcat.core.workers import Judgement  # lazy: a failure only

    rule = verdicts[0].rule
    message = REFUSALS.get(rule) or failure_message(target.port)
    return BlockedError(message, "; ".join(Judgement(verdicts).reasons), rule=rule)


async def assess(
    target: Target, policy: WorkersPolicy, *, family: str | None = None, timeout_s: float | None = None
) -> tuple[Judgement, BlockedError | None]:
    """Resolve the target and judge its addresses without connecting. Also return the error that `dial` would raise for
    them.

    Raises:
        ResolveError, ConnectError: it has no address.
        ConnectTimeout: the resolver did not answer in time.
    """
    try:
        addresses = await in_time(timeout_s, addresses_of(target, family))
    except TimeoutError as error:
        detail = f"{target.text}: the name was not resolved after {timeout_s:g} s"
        raise ConnectTimeout(failure_message(target.port), detail) from error
    judgement = policy.judge_all((address.ip for address in addresses), target.port)
    return judgement, blocked(target, *judgement.verdicts) if judgement.status == "blocked" else None


async def dial(
    target: Target,
    route: Route = ANY_ROUTE,
    *,
    policy: WorkersPolicy | None = None,
    trace: Trace | None = None,
) -> Dialed:
    """Connect to the first address of the target that answers.

    `policy` judges each resolved address; those blocked are dropped, and it goes on with those that remain (P2, P9).
    `trace` is told of the addresses and of what became of each; it must not raise.
    Cancelling closes everything that was begun.

    Raises:
        ResolveError: the name has no address.
        BlockedError: the policy allows none of them.
        ConnectError: no address answered; `attempts` says why, in order.
    """
    return await dial_any(target, await find(target, route, policy=policy, trace=trace), route, trace)


async def dial_any(target: Target, addresses: Sequence[Address], route: Route, trace: Trace | None) -> Dialed:
    """Connect to the first of these that answers. Raises ConnectError as `dial`."""
    source = route.source
    reach = _connect if source is None else partial(_connect_from, source, await _sources(source))
    if route.capture is not None:
        reach = partial(_reach_watched, reach, route.capture)
    dialed, attempts = await race(addresses, reach, trace)
    if dialed is None:
        raise connect_failed(target, _describe(target, attempts), attempts) from attempts[-1].error
    return dialed


class Direct:
    """The dialer that connects directly, without a proxy."""

    def __init__(self, route: Route = ANY_ROUTE, *, policy: WorkersPolicy | None = None) -> None:
        self._route = route
        self._policy = policy

    async def __call__(self, target: Target, *, trace: Trace | None) -> Dialed:
        return await dial(target, self._route, policy=self._policy, trace=trace)

    def missing(self, target: Target) -> str:
        return f"{target.text}: no connection"


async def find(
    target: Target, route: Route, *, policy: WorkersPolicy | None = None, trace: Trace | None = None
) -> list[Address]:
    """Resolve a target: its addresses in the order in which they are to be tried. Raises as `dial`."""
    began = time.monotonic()
    addresses = named(target, route) or await addresses_of(target, route.family)
    if policy is not None:
        addresses = _permitted(target, addresses, policy)
    addresses = _interleave(addresses)
    if trace is not None:
        from cfcat.record.making import Resolved  # lazy: most runs tell nobody

        trace(Resolved(tuple(address.text for address in addresses), time.monotonic() - began, target.text))
    return addresses


def named(target: Target, route: Route) -> list[Address]:
    """The addresses of `Route.resolve`; none: ask the resolver. Raises ResolveError: there is none of that family."""
    if not route.resolve:
        return []
    from cfcat.core.route import named_addresses  # lazy: most runs ask the resolver

    hosts = named_addresses(route.resolve, target)
    if hosts is None:
        return []
    infos = [
        socket.getaddrinfo(host, target.port, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)[0] for host in hosts
    ]
    found = [Address(socket.AddressFamily(info[0]), info[4]) for info in infos]
    wanted = FAMILIES[route.family]
    if not (found := [address for address in found if wanted in (socket.AF_UNSPEC, address.family)]):
        kind = {"ipv4": "IPv4", "ipv6": "IPv6"}[route.family or ""]
        raise ResolveError(failure_message(target.port), f"{target.text}: it was given no {kind} address")
    return found


def _permitted(target: Target, addresses: Sequence[Address], policy: WorkersPolicy) -> list[Address]:
    judgement = policy.judge_all((address.ip for address in addresses), target.port)
    policy.told(judgement)
    if judgement.status == "blocked":
        raise blocked(target, *judgement.verdicts)
    pairs = zip(addresses, judgement.verdicts, strict=True)
    return [address for address, verdict in pairs if verdict.status != "blocked"]


def need_host(target: Target) -> None:
    """Raise ResolveError for a target that names nothing (A6)."""
    if not target.host:
        raise ResolveError(failure_message(target.port), f"{target.text}: not a host name")


async def addresses_of(target: Target, family: str | None) -> list[Address]:
    """Resolve a target: its addresses in the resolver's order.

    Raises:
        ResolveError, ConnectError: it has none; the detail says why.
    """
    need_host(target)
    try:
        found = await _getaddrinfo(target.host, target.port, FAMILIES[family])
    except socket.gaierror as error:
        temporary = error.errno in TEMPORARY
        text = error.strerror or str(error)
        detail = f"{target.text}: {text[:1].lower()}{text[1:]}"
        raise ResolveError(failure_message(target.port), detail, temporary=temporary) from error
    except (OSError, UnicodeError, MemoryError) as error:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise connect_failed(target, f"{target.text}: {text.lower()}") from error
    if not found:
        raise ResolveError(failure_message(target.port), f"{target.text}: the name has no address")
    return [Address(info[0], info[4]) for info in dict.fromkeys(found)]


async def _getaddrinfo(host: str, port: int, family: int) -> list[Any]:
    """`getaddrinfo` in a daemon thread: it cannot be interrupted, and must hold up neither deadline nor exit."""
    # Bytes, because str goes through Python's IDNA codec first, with its own ideas of what a label is.
    name = host.encode("ascii")
    try:  # what is an address already needs no thread
        return socket.getaddrinfo(name, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass

    def ask() -> list[Any]:
        return socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)

    from cfcat.core.resolvers import resolvers  # lazy: threads are for names

    return await resolvers.run(running_loop(), ask)


def _interleave(addresses: Sequence[Address]) -> list[Address]:
    """The resolver's order, but families alternate, beginning with that of the first (RFC 8305 §4)."""
    if len(addresses) == 1:
        return list(addresses)
    first = [a for a in addresses if a.family == addresses[0].family]
    other = [a for a in addresses if a.family != addresses[0].family]
    mixed: list[Address] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1] + other[index : index + 1]
    return mixed


async def _connect(address: Address, place: Address | None = None) -> Dialed:
    """A `Reach`: by TCP, from anywhere or from one place."""
    began = time.monotonic()
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if place is not None:
            _bind(sock, place)
        await _until_connected(running_loop(), sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return Dialed(sock, time.monotonic() - began)


async def _sources(source: Target) -> list[Address]:
    """The addresses to connect from, the first of a family counts."""
    if not source.host:
        both = (socket.AF_INET, ANYWHERE[0]), (socket.AF_INET6, ANYWHERE[1])
        return [Address(family, (host, source.port)) for family, host in both]
    return await addresses_of(source._replace(text=f"source {source.text}"), None)


async def _connect_from(source: Target, sources: Sequence[Address], address: Address) -> Dialed:
    """A `Reach`: by TCP, from one of these addresses. Raises ConnectError: we cannot be there."""
    place = next((each for each in sources if each.family == address.family), None)
    if place is None:
        raise OSError(f"the source {source.text} is of the other family")
    return await _connect(address, place)


def _bind(sock: socket.socket, place: Address) -> None:
    try:
        # The port may have been ours a moment ago. nc: the same.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place.sockaddr)
    except OSError as error:
        reason = "not an address of this machine" if error.errno == errno.EADDRNOTAVAIL else reason_of(error)
        raise ConnectError(
            CONNECT_FAILED, f"cannot connect from {place.text if place.sockaddr[1] else place.ip}: {reason}"
        ) from error


async def _reach_watched(reach: Reach, capture: Capture, address: Address) -> Dialed:
    """A `Reach`: as another one, and what passes is told."""
    from cfcat.core.watched import WatchedSocket  # lazy: most connections are not watched

    dialed = await reach(address)
    try:
        return dialed._replace(sock=WatchedSocket(dialed.sock, capture, accepted=False))
    except BaseException:
        dialed.sock.close()
        raise


async def _until_connected(loop: Loop, sock: socket.socket, sockaddr: tuple[Any, ...]) -> None:
    """Connect a non-blocking socket. Raises OSError where that fails."""
    try:
        sock.connect(sockaddr)
    except (BlockingIOError, InterruptedError):
        await is_writable(loop, sock)
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code)) from None


def _describe(target: Target, attempts: Sequence[Attempt]) -> str:
    """`localhost:70: connection refused (tried ::1, 127.0.0.1)`; differing reasons are each named."""
    reason, details = tell(target, attempts)
    return f"{target.text}: {reason or 'could not connect'}" + (f" ({details})" if details else "")


def tell(target: Target, attempts: Sequence[Attempt]) -> tuple[str, str]:
    """Why no address was reached, "" where the reasons differ; and which were tried, "" where the target is one."""
    from cfcat.record.making import os_reason  # lazy: a failure only

    reasons = [os_reason(attempt.error) for attempt in attempts]
    hosts = [attempt.address.rpartition(":")[0].strip("[]") for attempt in attempts]
    if hosts == [target.host]:
        return reasons[0], ""
    if len(set(reasons)) == 1:
        return reasons[0], f"tried {shortened(hosts)}"
    return "", shortened([f"{host}: {reason}" for host, reason in zip(hosts, reasons, strict=True)])
