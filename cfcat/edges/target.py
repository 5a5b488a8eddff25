"""A target as a person types it, made into one for the core.

As with nc and ssh, the port may be the name of a service (services(5)), and may stand apart: then an IPv6 address needs
no brackets. The core's own parser has the reference's rules, and knows neither.
"""

from __future__ import annotations

import re
from contextlib import suppress

from cfcat.core.address import ANYWHERE, UNIX, Target, is_ipv6, parse_address, unix_path, without_zone
from cfcat.errors import AddressError

__all__ = ["is_port", "is_service_name", "listen_target", "port_of", "typed_target"]

LOOPBACK = ("127.0.0.1", "::1")

SERVICE_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_+.-]*")


def typed_target(text: str, port: str | None = None) -> Target:
    """`host:port`, host and port as two words, or `unix:/path`.

    Raises:
        AddressError: there is no such target; also for port 0, which is the library's (A11), and a service that this
            machine does not know.
    """
    if port is None:
        if unix_path(text) is not None:
            return parse_address(text)
        text = _with_number(text)
    else:
        text = f"{_bracketed(text)}:{_number(port)}"
    target = parse_address(_in_ascii(text))
    if target.port == 0:
        raise AddressError("port 0")
    return target


def listen_target(text: str, port: str | None = None) -> tuple[Target, tuple[str, ...]]:
    """Return where to listen: a target, and the hosts to use in place of its own; () if its own is the one.

    A port alone is loopback, `*:port` every address of this machine, `unix:PATH` a Unix socket, `unix:@NAME` one
    without a file. Port 0 is any free one.

    Raises:
        AddressError: there is no such address.
    """
    if text.startswith(UNIX) and port is None:
        if text.removeprefix(UNIX) in ("", "@"):
            raise AddressError("no path")
        return Target(text, "", 0), ()
    hosts: tuple[str, ...] = ()
    if port is None and ":" not in text:
        text, port, hosts = LOOPBACK[0], text, LOOPBACK
    elif text == "*" or (port is None and text.startswith("*:")):
        port, hosts = text.removeprefix("*:") if port is None else port, ANYWHERE
        text = ANYWHERE[0]
    address = f"{_bracketed(text)}:{_number(port)}" if port is not None else _with_number(text)
    target = parse_address(address)
    if hosts == LOOPBACK and target.port == 0:
        hosts = LOOPBACK[:1]  # two families would get two ports
    return target, hosts


def is_service_name(text: str) -> bool:
    """Is this a possible name of a service? A number is not."""
    return SERVICE_NAME.fullmatch(text) is not None


def _with_number(text: str) -> str:
    host, colon, last = text.rpartition(":")
    return f"{host}:{_number(last)}" if colon and "://" not in text else text


def _in_ascii(text: str) -> str:
    """`host:port` with the host as the resolver and certificates have it: `xn--bcher-kva.example` for
    `bücher.example`. The library takes that form alone (A8).

    Raises:
        AddressError: it is no name; `detail` says why.
    """
    host, colon, port = text.rpartition(":")
    if text.isascii() or not host or "://" in text or host.startswith("["):
        return text
    import idna  # lazy: few names need it

    try:
        name = idna.encode(host, strict=True, uts46=True, std3_rules=True).decode()
    except UnicodeError as error:  # IDNAError
        raise AddressError("not a host name", str(error)) from error
    return f"{name}{colon}{port}"


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


def is_port(text: str) -> bool:
    """Is it a number from 1 to 65535?"""
    return text.isascii() and text.isdigit() and len(text.lstrip("0")) <= 5 and 0 < int(text) <= 65535


def port_of(target: str) -> int:
    """The port of `host:port`; 0 where there is none, as for a Unix socket."""
    port = target.rpartition(":")[2]
    return int(port) if is_port(port) else 0
