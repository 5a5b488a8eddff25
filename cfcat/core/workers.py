"""What a Worker on Cloudflare may connect to, and to how many at once: a local copy of the documented rules.

Pure. Source: rules P1-P4, P6, P7 and P9; the gate itself is not public, so this is what is documented, and for
private networks the default of the runtime (P2). Cloudflare may change its rules; `AS_OF` is the date of this copy. P5
and P8 need no judgement: `connect()` asks for a running loop anyway, and nothing here listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from cfcat.core.address import format_address

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

__all__ = ["AS_OF", "MOST_SOCKETS", "RANGES", "Judgement", "Range", "Status", "Verdict", "WorkersPolicy", "judge"]

AS_OF = "2026-11-17"

# P1: https://www.cloudflare.com/ips-v4 and ips-v6. Older copies have 104.16.0.0/12 for 104.16.0.0/13 and 104.24.0.0/14;
# 1.1.1.1 and 1.0.0.1 are Cloudflare's too, and in no list.
CLOUDFLARE = (
    *("173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "141.101.64.0/18"),
    *("108.162.192.0/18", "190.93.240.0/20", "188.114.96.0/20", "197.234.240.0/22", "198.41.128.0/17"),
    *("162.158.0.0/15", "104.16.0.0/13", "104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22"),
    *("2400:cb00::/32", "2606:4700::/32", "2803:f800::/32", "2405:b500::/32", "2405:8100::/32"),
    *("2a06:98c0::/29", "2c0f:f248::/32"),
)
# P2: all that is not "public" to the runtime. To connect to the unspecified address is to connect to oneself.
LOCAL = ("127.0.0.0/8", "::1/128", "0.0.0.0/32", "::/128")
PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
RESERVED = ("192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32", "2001::/23", "ff00::/8")

MAIL_PORT = 25  # P3
HTTP_PORTS = frozenset({80, 443})  # P7
MOST_SOCKETS = 6  # P6
# IPv6 addresses that stand for an IPv4 address, and how far from its end that is: mapped, of NAT64 (RFC 6052), of 6to4
# (RFC 3056), translated (RFC 2765), compatible (RFC 4291). The runtime looks into the first only; a Worker that was
# given one of the others would end at the same place, or nowhere.
EMBEDDING = {"::ffff:0:0/96": 0, "64:ff9b::/96": 0, "2002::/16": 80, "::ffff:0:0:0/96": 0, "::/96": 0}

Status = Literal["allowed", "note", "blocked"]


class Range(NamedTuple):
    """A network that no Worker can reach, and what it is."""

    network: str
    rule: str
    what: str


RANGES = (
    *(Range(network, "P1", "Cloudflare's own") for network in CLOUDFLARE),
    *(Range(network, "P2", "local") for network in LOCAL),
    *(Range(network, "P2", "private") for network in PRIVATE),
    *(Range(network, "P2", "reserved") for network in RESERVED),
)


class Verdict(NamedTuple):
    """What becomes of one resolved address, `ip:port`. `rule` and `why`, a line for people, are "" where it is allowed.

    `status`: "note" means allowed, with a remark for the user.
    """

    address: str
    status: Status
    rule: str = ""
    why: str = ""

    @property
    def text(self) -> str:
        """`10.0.0.1 is private, in 10.0.0.0/8 (rule P2)`."""
        return f"{self.why} (rule {self.rule})" if self.rule else ""


class Judgement(NamedTuple):
    """What becomes of a target: a verdict for each of its addresses, of which there is at least one."""

    verdicts: tuple[Verdict, ...]

    @property
    def left_out(self) -> tuple[Verdict, ...]:
        """The addresses that are blocked."""
        return tuple(verdict for verdict in self.verdicts if verdict.status == "blocked")

    @property
    def status(self) -> Status:
        """Blocked where every address is; a note where only some are, for it goes on with the others (P9)."""
        if not self.left_out:
            return self.verdicts[0].status
        return "blocked" if len(self.left_out) == len(self.verdicts) else "note"

    @property
    def rule(self) -> str:
        """The rule that decides; "" where none has anything to say."""
        return "P9" if 0 < len(self.left_out) < len(self.verdicts) else self.verdicts[0].rule

    @property
    def reasons(self) -> list[str]:
        """What there is to say of the addresses, each thing once."""
        return list(dict.fromkeys(verdict.text for verdict in self.verdicts if verdict.rule))


def judge(ip: str, port: int) -> Verdict:
    """May a Worker connect to this address, as the resolver gave it, and port?"""
    address = format_address(ip, port)
    if port == MAIL_PORT:
        return Verdict(address, "blocked", "P3", f"{address} has the port of mail, closed by default")
    from ipaddress import ip_address  # lazy: 4 ms, and most runs have no policy

    parsed = ip_address(ip)
    for seen in (parsed, *_embedded(parsed)):
        if (found := _range_of(seen)) is not None:
            name = f"{ip} is" if seen is parsed else f"{ip} stands for {seen}, which is"
            return Verdict(address, "blocked", found.rule, f"{name} {found.what}, in {found.network}")
    if port in HTTP_PORTS:
        return Verdict(address, "note", "P7", f"port {port} is that of HTTP, for which there is fetch()")
    return Verdict(address, "allowed")


def _range_of(address: IPv4Address | IPv6Address) -> Range | None:
    found = (each for each in RANGES if address in _network(each.network))
    return next(found, None)


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    from ipaddress import IPv4Address

    found = (shift for network, shift in EMBEDDING.items() if address in _network(network))
    return [IPv4Address(int(address) >> shift & 0xFFFFFFFF) for shift in found]


@cache
def _network(text: str) -> IPv4Network | IPv6Network:
    from ipaddress import ip_network

    return ip_network(text)


class WorkersPolicy:
    """For `SocketOptions.policy`: connections as a Worker may have them, others fail with BlockedError.

    One object stands for one invocation of a Worker: give the same to all its sockets, of which six are open at a time
    (P6). The seventh is not refused: it begins when one of them has ended; its `connect_timeout` runs meanwhile. It
    belongs to one event loop. `tell` is called with what is allowed with a note. For other rules override `judge`.
    """

    def __init__(self, *, tell: Callable[[Judgement], None] | None = None) -> None:
        self._tell = tell
        self._open: set[object] = set()
        self._waiting: dict[object, Callable[[], None]] = {}

    @property
    def waiting(self) -> int:
        """How many sockets wait for a place: above 0, a Worker would have to wait (P6, P9)."""
        return len(self._waiting)

    def judge(self, ip: str, port: int) -> Verdict:
        """Judge one resolved address (P1, P2, P3, P7)."""
        return judge(ip, port)

    def judge_all(self, ips: Iterable[str], port: int) -> Judgement:
        """Judge all the addresses of a target (P9)."""
        return Judgement(tuple(self.judge(ip, port) for ip in ips))

    def judge_ends(self, remote_address: str, local_address: str) -> Verdict:
        """Judge a connection that is made (P4): is it one to itself? More is not seen from here."""
        if remote_address == local_address:
            return Verdict(remote_address, "blocked", "P4", f"both ends of the connection are {remote_address}")
        return Verdict(remote_address, "allowed")

    def told(self, judgement: Judgement) -> None:
        """Pass a judgement with a note to `tell`."""
        if judgement.status == "note" and self._tell is not None:
            self._tell(judgement)

    def enter(self, begin: Callable[[], None]) -> Callable[[], None]:
        """Call `begin` when there is a place (P6): at once, or in its turn.

        Returns a function that frees the place, or leaves the queue. Call it when the connection is over; a second call
        does no harm.
        """
        place = object()
        self._waiting[place] = begin

        def leave() -> None:
            self._open.discard(place)
            self._waiting.pop(place, None)
            self._admit()

        self._admit()
        return leave

    def _admit(self) -> None:
        while self._waiting and len(self._open) < MOST_SOCKETS:
            place = next(iter(self._waiting))
            begin = self._waiting.pop(place)
            self._open.add(place)
            begin()
