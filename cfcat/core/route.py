"""Where a connection comes from, and where a name is: the texts of `source` and `resolve`.

Pure. Source: curl(1), --resolve and --interface; nc(1), -s and -p.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from cfcat.core.address import Target, format_address, is_ipv6, parse_address, without_zone
from cfcat.errors import AddressError, OptionsError

__all__ = ["check_resolve", "named_addresses", "parse_resolve", "parse_source"]

SOURCE = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+)?(?::([0-9]+))?")
NO_SOURCE = "a source is an address of this machine, with a port or without: 192.0.2.7, 192.0.2.7:5000, :5000"
ENTRY = re.compile(r"(\*|\[[^\]]*\]|[^:\[\]]+):([0-9]+):(.+)")


def parse_source(text: str) -> Target:
    """`HOST`, `HOST:PORT` or `:PORT`: the host "" and the port 0 are any.

    Raises:
        OptionsError: it is none of these.
    """
    bare = is_ipv6(without_zone(text))
    match = SOURCE.fullmatch(f"[{text}]" if bare else text)
    try:
        target = parse_address(f"{match[1] or 'any'}:{match[2] or 0}") if match and text else None
    except AddressError:
        target = None
    if match is None or target is None or (match[2] and not target.port):
        raise OptionsError(NO_SOURCE)
    return Target(text, target.host if match[1] else "", target.port)


def parse_resolve(entries: Iterable[str]) -> dict[str, list[str]]:
    """`HOST:PORT:ADDR[,ADDR]` to `connect()`'s `resolve`; a later entry for the same replaces an earlier one.

    Raises:
        OptionsError: an entry is something else.
    """
    found: dict[str, list[str]] = {}
    for entry in entries:
        match = ENTRY.fullmatch(entry)
        if match is None:
            raise OptionsError("it is HOST:PORT:ADDR, with more addresses behind commas")
        found[f"{match[1]}:{match[2]}"] = match[3].split(",")
    check_resolve(found)
    return found


def check_resolve(resolve: Mapping[str, Sequence[str]]) -> None:
    """Raise OptionsError where a name is no `host:port`, or an address is none; TypeError for other types."""
    if not isinstance(resolve, Mapping):
        raise TypeError(f"resolve must be a mapping, not {type(resolve).__name__}")
    for name, addresses in resolve.items():
        try:
            parse_address(name.replace("*", "any", 1) if name.startswith("*:") else name)
        except AddressError as error:
            raise OptionsError("what is resolved is HOST:PORT, or *:PORT") from error
        if isinstance(addresses, str) or not addresses:
            raise OptionsError("a name is resolved to a list of addresses")
        for address in addresses:
            _check_address(address)


def _check_address(address: str) -> None:
    try:
        ip_address(address.strip("[]"))
    except ValueError as error:
        raise OptionsError("a name is resolved to IP addresses") from error


def named_addresses(resolve: Mapping[str, Sequence[str]], target: Target) -> list[str] | None:
    """The addresses that the target is said to have, without brackets; None: ask the resolver."""
    wanted = (format_address(target.host, target.port).lower().replace(".:", ":"), f"*:{target.port}")
    for name in wanted:
        for known, addresses in resolve.items():
            if known.lower() == name:
                return [address.strip("[]") for address in addresses]
    return None
