"""The header of HAProxy's PROXY protocol: the first bytes to a server name the client that a proxy connects for.

Pure. Source: "The PROXY protocol, versions 1 & 2" of HAProxy, sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from cfcat.core.address import format_address, is_ipv6, parse_address, without_zone
from cfcat.errors import AddressError, OptionsError
from cfcat.proxies.dialog import Refusal, Step

__all__ = ["Claim", "End", "header", "parse_claim", "read_header"]

CLAIM = re.compile(r"([12])(?::(.+))?")
NO_CLAIM = "it is 1 or 2, and behind a colon the address that is claimed: 2, 1:192.0.2.7, 2:[2001:db8::7]:5000"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21  # version 2, and the command
TCP4, TCP6 = 0x11, 0x21
MAX_PORT = 0xFFFF
MAX_LINE_BYTES = 107  # version 1, with its end
LINE = re.compile(rb"PROXY TCP[46] ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) (\d{1,5}) (\d{1,5})\r\n")
UNKNOWN_LINE = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")


class Claim(NamedTuple):
    """What a header is to say. `version`: 1 or 2. `host`, `port`: the client; "" and 0: our own address and port."""

    version: int
    host: str = ""
    port: int = 0


class End(NamedTuple):
    """An end of a connection."""

    host: str
    port: int


def parse_claim(text: str) -> Claim:
    """`1` or `2`, and `:ADDR` or `:ADDR:PORT`.

    Raises:
        OptionsError: it is something else.
    """
    match = CLAIM.fullmatch(text)
    if match is None:
        raise OptionsError(NO_CLAIM)
    version, source = int(match[1]), match[2]
    if source is None:
        return Claim(version)
    with_port = re.fullmatch(r"(\[.*\]|[^:]*):[0-9]+", source)
    bracketed = f"[{source}]" if is_ipv6(source) else source
    try:
        end = parse_address(source if with_port else f"{bracketed}:0")
        ip_address(end.host)
    except (AddressError, ValueError) as error:
        raise OptionsError(NO_CLAIM) from error
    if with_port and not end.port:
        raise OptionsError(NO_CLAIM)
    return Claim(version, end.host, end.port)


def header(claim: Claim, ours: End | None, target: End | None) -> bytes:
    """Return the header. `ours`: our end; None: a Unix socket. `target`: the other end; None: its address is not known.

    Raises:
        OptionsError: the claimed address and the target's are of different families.
    """
    if ours is None:
        return _unknown(claim.version)
    source = End(claim.host or without_zone(ours.host), claim.port or ours.port)
    if target is None:
        target = End("::" if ":" in source.host else "0.0.0.0", 0)
    host = without_zone(target.host)
    if (":" in source.host) != (":" in host):
        if claim.host:
            raise OptionsError(f"the address {claim.host} is claimed to a target of the other family, {host}")
        return _unknown(claim.version)  # through a proxy: our address is not on the way from it to the target
    if claim.version == 1:
        kind = "TCP6" if ":" in host else "TCP4"
        return f"PROXY {kind} {source.host} {host} {source.port} {target.port}\r\n".encode()
    ends = ip_address(source.host).packed + ip_address(host).packed
    ends += source.port.to_bytes(2, "big") + target.port.to_bytes(2, "big")
    return SIGNATURE + bytes((PROXY, TCP6 if ":" in host else TCP4)) + len(ends).to_bytes(2, "big") + ends


def _unknown(version: int) -> bytes:
    return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE + bytes((LOCAL, 0, 0, 0))


def read_header() -> Step[str]:
    """Read a client's header of either version; return the client that it names, `ip:port`, or "" for none.

    Raises:
        Refusal: the client sent no header.
    """
    first = yield 1
    if first == b"P":
        return (yield from _read_line(first))
    if first == SIGNATURE[:1]:
        return (yield from _read_binary(first))
    raise _nonsense(first)


def _read_line(line: bytes) -> Step[str]:
    while not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
        line += yield 1
        if not b"PROXY ".startswith(line[:6]):
            raise _nonsense(line)
    if UNKNOWN_LINE.fullmatch(line):
        return ""
    match = LINE.fullmatch(line)
    if match is None or max(int(match[3]), int(match[4])) > MAX_PORT:
        raise _nonsense(line)
    try:
        source, target = ip_address(match[1].decode()), ip_address(match[2].decode())
    except ValueError:
        raise _nonsense(line) from None
    if source.version != target.version:
        raise _nonsense(line)
    return format_address(str(source), int(match[3]))


def _read_binary(head: bytes) -> Step[str]:
    while len(head) < len(SIGNATURE):
        head += yield 1
        if not SIGNATURE.startswith(head):
            raise _nonsense(head)
    command, kind, high, low = yield 4
    size = high << 8 | low
    ends = (yield size) if size else b""
    if command == LOCAL:
        return ""
    if command != PROXY:
        raise _nonsense(head)
    if kind == TCP4 and size >= 12:
        return format_address(str(IPv4Address(ends[:4])), int.from_bytes(ends[8:10], "big"))
    if kind == TCP6 and size >= 36:
        return format_address(str(IPv6Address(ends[:16])), int.from_bytes(ends[32:34], "big"))
    if kind in (TCP4, TCP6):
        raise _nonsense(head)
    return ""  # the client is on a Unix socket, or uses no stream


def _nonsense(said: bytes) -> Refusal:
    return Refusal("the client sent no PROXY header", kind="nonsense", said=said)
