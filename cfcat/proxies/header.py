"""The header of HAProxy's PROXY protocol: whom a proxy speaks for, as the first bytes to a server.

Pure. Source: "The PROXY protocol, versions 1 & 2" of HAProxy, sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from cfcat.core.address import is_ipv6, parse_address, without_zone
from cfcat.errors import AddressError, OptionsError

__all__ = ["Claim", "End", "header", "parse_claim"]

CLAIM = re.compile(r"([12])(?::(.+))?")
NO_CLAIM = "it is 1 or 2, and behind a colon the address that is claimed: 2, 1:192.0.2.7, 2:[2001:db8::7]:5000"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21  # version 2, and the command
TCP4, TCP6 = 0x11, 0x21


class Claim(NamedTuple):
    """What is to be said. `version`: 1 or 2. `host`, `port`: in place of our own; "" and 0: our own."""

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
    """The header. `ours`: where we connect from; None: on a Unix socket. `target`: None where its address is not known.

    Raises:
        OptionsError: what is claimed and the target are of two families.
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
        return _unknown(claim.version)  # through a proxy: ours says nothing of the way to the target
    if claim.version == 1:
        kind = "TCP6" if ":" in host else "TCP4"
        return f"PROXY {kind} {source.host} {host} {source.port} {target.port}\r\n".encode()
    ends = ip_address(source.host).packed + ip_address(host).packed
    ends += source.port.to_bytes(2, "big") + target.port.to_bytes(2, "big")
    return SIGNATURE + bytes((PROXY, TCP6 if ":" in host else TCP4)) + len(ends).to_bytes(2, "big") + ends


def _unknown(version: int) -> bytes:
    return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE + bytes((LOCAL, 0, 0, 0))
