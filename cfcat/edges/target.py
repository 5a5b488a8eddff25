"""A target as a person types it, made into one for the core.

As with nc and ssh, the port may be the name of a service (services(5)), and may stand apart: then an IPv6 address needs
no brackets. The core's own parser has the reference's rules, and knows neither.
"""

from __future__ import annotations

import re
from contextlib import suppress

from cfcat.core.address import Target, is_ipv6, parse_address, without_zone
from cfcat.errors import AddressError

__all__ = ["is_service_name", "typed_target"]

SERVICE_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_+.-]*")


def typed_target(text: str, port: str | None = None) -> Target:
    """`host:port`, or host and port as two words.

    Raises:
        AddressError: there is no such target; also for port 0, which is the library's (A11), and a service that this
            machine does not know.
    """
    if port is None:
        host, colon, last = text.rpartition(":")
        if colon and "://" not in text:
            text = f"{host}:{_number(last)}"
    else:
        text = f"{_bracketed(text)}:{_number(port)}"
    target = parse_address(text)
    if target.port == 0:
        raise AddressError("port 0")
    return target


def is_service_name(text: str) -> bool:
    """Is this a possible name of a service? A number is not."""
    return SERVICE_NAME.fullmatch(text) is not None


def _number(port: str) -> str:
    """The port of a service; all else as it is, for the parser to judge."""
    if not is_service_name(port):
        return port
    import socket  # lazy: most ports are numbers

    with suppress(OSError):
        port = str(socket.getservbyname(port, "tcp"))
    return port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and is_ipv6(without_zone(host)) else host
