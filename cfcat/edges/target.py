"""A target as a person types it, made into one for the core.

As with nc and ssh, the port may be the name of a service (services(5)), and may stand apart: then an IPv6 address needs
no brackets. The core's own parser has the reference's rules, and knows neither.
"""

from __future__ import annotations

import re
from contextlib import suppress

from cfcat.core.address import ANYWHERE, UNIX, Target, is_ipv6, parse_address, unix_path, without_zone
from cfcat.errors import AddressError

__all__ = [
    "in_ascii",
    "is_port",
    "is_service_name",
    "listen_target",
    "port_of",
    "proxy_in_ascii",
    "typed_name",
    "typed_target",
]

LOOPBACK = ("127.0.0.1", "::1")

LABEL_BYTES = 63  # between two dots of a name (RFC 1035 §2.3.4)
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
    target = parse_address(in_ascii(text))
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
    target = parse_address(in_ascii(address))
    if hosts == LOOPBACK and target.port == 0:
        hosts = LOOPBACK[:1]  # two families would get two ports
    return target, hosts


def typed_name(text: str) -> str:
    """A server's name for TLS, as certificates have it. A dot may end it, and `*.` may begin it where we listen.

    Raises:
        AddressError: it can be no name in a certificate; `detail` may say why.
    """
    star = "*." if text.startswith("*.") else ""
    name = star + in_ascii(text.removeprefix(star))
    labels = name.removesuffix(".").split(".")
    printable = name.isascii() and name.isprintable() and " " not in name
    if not printable or not all(0 < len(label) <= LABEL_BYTES for label in labels):
        raise AddressError("not a host name")
    return name


def in_ascii(text: str) -> str:
    """A host, and what is behind its colon, with the host as the resolver and certificates have it:
    `xn--bcher-kva.example:80` for `bücher.example:80`. The library takes that form alone (A8).

    Raises:
        AddressError: it is no name; `detail` says why.
    """
    host, colon, rest = text.partition(":")
    if host.isascii() or host.startswith("["):
        return text
    import idna  # lazy: few names need it

    try:
        name = idna.encode(host, strict=True, uts46=True, std3_rules=True).decode()
    except UnicodeError as error:  # IDNAError
        raise AddressError("not a host name", str(error)) from error
    return f"{name}{colon}{rest}"


def proxy_in_ascii(url: str) -> str:
    """The URL of a proxy with its host like that; as it is, where the host is no name."""
    begin = max(url.rfind(mark) + len(mark) for mark in ("@", "://") if mark in url) if "://" in url else 0
    with suppress(AddressError):
        return url[:begin] + in_ascii(url[begin:])
    return url


def is_service_name(text: str) -> bool:
    """Is this a possible name of a service? A number is not."""
    return SERVICE_NAME.fullmatch(text) is not None


def _with_number(text: str) -> str:
    host, colon, last = text.rpartition(":")
    return f"{host}:{_number(last)}" if colon and "://" not in text else text


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
