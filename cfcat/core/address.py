"""The one parser of `host:port`, `1.2.3.4:port`, `[::1]:port` and `[fe80::1%eth0]:port`.

Pure. Rules A2-A11: the reference reads the text as the authority of `fake://TEXT`, so this is the WHATWG URL
standard's host and port parsing for a scheme that is not special, followed by a check of the characters (A8). IPv6
zones are accepted although the standard has none (V20): a link-local server cannot be reached without one. The parser
does not check names: the host is used as written and left to the resolver (A9).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cfcat.errors import AddressError, WrongTypeError

__all__ = [
    "ANYWHERE",
    "UNIX",
    "SocketAddress",
    "Target",
    "bound_name",
    "format_address",
    "is_ip",
    "is_ipv6",
    "parse_address",
    "parse_given",
    "unix_path",
    "without_zone",
]

UNIX = "unix:"  # how the address of a Unix socket begins; its path follows (V20)
ANYWHERE = ("0.0.0.0", "::")  # to listen on every address of this machine, in both families

MAX_PORT = 65535
MAX_TEXT = 255  # A8: host, colon and port together

NOT_PARSED = "Specified address could not be parsed."
NO_HOSTNAME = "Specified address is missing hostname."
NO_PORT = "Specified address is missing port."
BAD_TEXT = "Specified address is empty string, contains unsupported characters or is too long."
PORT_NOT_INTEGER = "The value cannot be converted because it is not an integer."
PORT_TOO_LARGE = "Value out of range. Must be less than or equal to 65535."
PORT_NEGATIVE = "The value cannot be converted because it is negative and this API expects a positive number."

FORM = "an address is 'host:port'"

ALLOWED_TEXT = re.compile(rf"[A-Za-z0-9\-._\[\]:]{{1,{MAX_TEXT}}}")
ZONE = re.compile(
    r"%(?:25)?([A-Za-z0-9\-._]+)(?=\]:[0-9]+$)"
)  # the name or number of an interface; RFC 6874: behind %25
# Where a Unix socket is: what has none of these beginnings is a host called `unix` (A12).
UNIX_PATH = re.compile(r"unix:((?:/|\./|\.\./|@).+)")
# URL standard, "forbidden host code points", less those that end the authority.
FORBIDDEN_HOST = re.compile(r"[\x00 <>\[\]\\^|:]")
AFTER_AUTHORITY = re.compile(r"[/?#]")
TAB_OR_NEWLINE = re.compile(r"[\t\n\r]")
C0_OR_SPACE = "".join(map(chr, range(0x21)))


class SocketAddress(NamedTuple):
    """An address as a record (A6): `hostname` as for the string form, IPv6 in brackets; `port` 0 to 65535.

    A host called `unix` is a host like any other (A12).
    """

    hostname: str
    port: int


class Target(NamedTuple):
    """A checked address. `text` is `host:port` as given, `host` is without brackets, `port` a number.

    The zone of an IPv6 address is in both: `fe80::1%eth0`.
    `host` is "" on a Unix socket, `unix:/path`, whose port is 0; and where the text names nothing that could be
    resolved (A6: `::1` without brackets, a host with a port of its own): such a target passes `connect()` and fails to
    connect.
    """

    text: str
    host: str
    port: int


def parse_address(address: str | SocketAddress) -> Target:
    """Check an address.

    Raises:
        AddressError: with the reference's text (A2-A8).
        WrongTypeError, TypeError: it is neither a string nor a `SocketAddress`, or a member has the wrong type
            (V15 instead of A14).
    """
    if isinstance(address, SocketAddress):
        return _check_record(address)
    if not isinstance(address, str):
        raise WrongTypeError(NO_PORT, f"{FORM} or SocketAddress(hostname, port), not {type(address).__name__}")
    if unix_path(address) is not None:
        if not address.isprintable():
            raise AddressError(BAD_TEXT)
        return Target(address, "", 0)
    text, zone = _split_zone(address)
    host, port = _parse_authority(text)
    if not host:
        raise AddressError(NO_HOSTNAME)
    if port is None:
        raise AddressError(NO_PORT)
    if not ALLOWED_TEXT.fullmatch(text) or len(address) > MAX_TEXT:
        raise AddressError(BAD_TEXT)
    host = _unbracket(host) + zone
    return Target(format_address(host, port) if zone else address, host, port)


def parse_given(address: str | SocketAddress) -> Target:
    """As `parse_address`, for an address in somebody's program: the error also says what form an address has."""
    try:
        return parse_address(address)
    except AddressError as error:
        is_url = isinstance(address, str) and "://" in address
        raise AddressError(error.message, f"{FORM}, not a URL" if is_url else FORM) from None


def unix_path(text: str) -> str | None:
    """The path of `unix:/path`, `unix:./path` and `unix:../path`, or the `@name` of `unix:@name`; None: no such."""
    match = UNIX_PATH.fullmatch(text) if text.startswith(UNIX) else None
    return match and match[1]


def bound_name(path: str) -> str:
    """What bind(2) and connect(2) take for `unix_path()`: a name without a file begins with a zero byte (unix(7))."""
    return f"\0{path[1:]}" if path.startswith("@") else path


def format_address(host: str, port: int) -> str:
    """`ip:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_record(address: SocketAddress) -> Target:
    hostname, port = address
    if not isinstance(hostname, str):
        raise TypeError(f"hostname must be str, not {type(hostname).__name__}")
    if not isinstance(port, int) or isinstance(port, bool):
        raise WrongTypeError(PORT_NOT_INTEGER, f"port is int, not {type(port).__name__}")
    if port > MAX_PORT:
        raise AddressError(PORT_TOO_LARGE)
    if port < 0:
        raise AddressError(PORT_NEGATIVE)
    given = f"{hostname}:{port}"
    text, zone = _split_zone(given)
    if not ALLOWED_TEXT.fullmatch(text) or len(given) > MAX_TEXT:
        raise AddressError(BAD_TEXT)
    try:
        host, _ = _parse_authority(text)
    except AddressError:
        return Target(given, "", port)  # A6: nothing more is parsed; it fails when connecting
    host = _unbracket(host) + zone
    return Target(format_address(host, port) if zone else given, host, port)


def _split_zone(text: str) -> tuple[str, str]:
    """An address without its zone, and that with its `%`; "" where it has none."""
    if not text.startswith("[") or (zone := ZONE.search(text)) is None:
        return text, ""
    return text[: zone.start()] + text[zone.end() :], f"%{zone[1]}"


def without_zone(host: str) -> str:
    """A host for TLS: a zone is this machine's own, so no certificate names it (RFC 6874 §4)."""
    return host.partition("%")[0]


def _parse_authority(text: str) -> tuple[str, int | None]:
    """Host (brackets kept) and port of `fake://text`; the port is None where there is none."""
    # The URL standard drops these first: a trailing newline parses, and A8 then refuses it.
    text = TAB_OR_NEWLINE.sub("", text.rstrip(C0_OR_SPACE))
    authority = AFTER_AUTHORITY.split(text, maxsplit=1)[0]
    _, at, host_port = authority.rpartition("@")
    if host_port.startswith("["):
        host, bracket, rest = host_port.partition("]")
        host += bracket
        if not (bracket and is_ipv6(host[1:-1]) and (rest == "" or rest.startswith(":"))):
            raise AddressError(NOT_PARSED)
        colon, digits = rest[:1], rest[1:]
    else:
        host, colon, digits = host_port.partition(":")
        if FORBIDDEN_HOST.search(host) or (not host and (colon or at)):
            raise AddressError(NOT_PARSED)
    if digits and not (digits.isascii() and digits.isdecimal()):
        raise AddressError(NOT_PARSED)
    digits = digits.lstrip("0") or digits[-1:]  # int() refuses thousands of digits
    if len(digits) > 5 or (digits and int(digits) > MAX_PORT):
        raise AddressError(NOT_PARSED)
    return host, int(digits) if digits else None


def is_ipv6(text: str) -> bool:
    """Is this an IPv6 address, without brackets and zone?"""
    import ipaddress  # lazy: 4 ms, and only an address in brackets needs it

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text  # the URL standard has no zones


def is_ip(text: str) -> bool:
    """Is this an address of either family, without brackets and zone?"""
    import ipaddress  # lazy: as above

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _unbracket(host: str) -> str:
    return host[1:-1] if host.startswith("[") else host
