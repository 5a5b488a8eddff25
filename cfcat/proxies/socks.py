"""SOCKS: version 5, with credentials or without; version 4; and 4a, which takes names.

Pure. Source: RFC 1928, RFC 1929, and the two notes of their authors on SOCKS 4 and 4a.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from cfcat.core.address import Target, format_address
from cfcat.proxies.dialog import Dialog, Refusal, RefusalKind, Secret, Step

__all__ = ["socks4", "socks5"]

CONNECT = 1
# ---- version 5
NO_AUTHENTICATION, PASSWORD, NONE_ACCEPTABLE = 0, 2, 0xFF
IPV4, NAME, IPV6 = 1, 3, 4  # the types of an address
UNREACHED = {  # RFC 1928 §6: the proxy did not reach this address; another one of the target may work
    1: "general failure",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
}
FORBIDDEN = {
    2: "not allowed by its rules",
    7: "command not supported",
    8: "address type not supported",
}
# ---- version 4
GRANTED = 90
REJECTED = {
    91: "rejected or failed",
    92: "it cannot reach our identd",
    93: "our identd names another user",
}
BY_NAME = bytes((0, 0, 0, 1))  # 4a: no address; the name follows

HOST_NAME = re.compile(rb"[A-Za-z0-9._-]+")


def socks5(target: Target, user: str | None = None, password: str = "") -> Dialog:
    """RFC 1928 §3 to §6. `user`: None offers no credentials. The proxy resolves the target where it is a name."""
    methods = (NO_AUTHENTICATION,) if user is None else (NO_AUTHENTICATION, PASSWORD)
    yield bytes((5, len(methods), *methods))
    version, method = yield 2
    if version != 5:
        raise _nonsense(5, bytes((version, method)))
    if method == NONE_ACCEPTABLE:
        wants = "it wants a user name and a password" if user is None else "it takes no user name and password"
        raise Refusal(wants, kind="credentials")
    if method not in methods:
        raise Refusal(f"it chose an authentication that was not offered (method {method})")
    if user is not None and method == PASSWORD:
        yield from _log_in(_encoded(user), _encoded(password))
    yield bytes((5, CONNECT, 0)) + _address(target.host) + target.port.to_bytes(2, "big")
    version, reply = yield 2  # a refusal may end here
    if version != 5:
        raise _nonsense(5, bytes((version, reply)))
    if reply:
        raise _refused(target, reply)
    _, kind = yield 2
    return (yield from _read_bound(kind))


def _log_in(user: bytes, password: bytes) -> Step[None]:
    """RFC 1929 §2. Ignore the version in the answer, as other clients do: some servers send another than 1."""
    yield Secret.between(bytes((1, len(user))), user, bytes((len(password),)), password)
    _, status = yield 2
    if status:
        raise Refusal("it refused the user name and the password", kind="credentials")


def _refused(target: Target, reply: int) -> Refusal:
    if reason := UNREACHED.get(reply):
        return Refusal(f"it could not reach {target.text} ({reason})", kind="target", reason=reason)
    reason = FORBIDDEN.get(reply) or f"reply code {reply}"
    return Refusal(f"it refused to connect to {target.text} ({reason})")


def _address(host: str) -> bytes:
    """Encode an IP address in binary, so that no proxy takes it for a name; any other host as a name."""
    ip = _ip(host)
    if ip is not None:
        return bytes((IPV4 if ip.version == 4 else IPV6,)) + ip.packed
    name = host.encode("ascii")  # 255 characters at most (A8)
    return bytes((NAME, len(name))) + name


def _read_bound(kind: int) -> Step[str]:
    """Return the address that the proxy connects from, "" where it does not say: many send 0.0.0.0:0."""
    if kind == NAME:
        (size,) = yield 1
        name = (yield size) if size else b""
        host = name.decode() if HOST_NAME.fullmatch(name) else ""
    elif kind in (IPV4, IPV6):
        ip = ip_address((yield 4 if kind == IPV4 else 16))
        host = "" if ip.is_unspecified else str(ip)
    else:
        raise _nonsense(5, bytes((kind,)))
    port = int.from_bytes((yield 2), "big")
    return format_address(host, port) if host and port else ""


def socks4(target: Target, user: str | None = None) -> Dialog:
    """SOCKS 4, where the target is an IPv4 address, or 4a, where it is a name."""
    ip, name = _ip(target.host), b""
    if isinstance(ip, IPv6Address):
        raise ValueError("SOCKS 4 has no IPv6")
    if ip is None:
        name = target.host.encode("ascii") + b"\0"
    packed = BY_NAME if ip is None else ip.packed
    place = target.port.to_bytes(2, "big") + packed
    yield Secret.between(bytes((4, CONNECT)) + place, _encoded(user or ""), b"\0" + name)
    version, code = yield 2
    if version != 0:  # of the answer, not of the protocol
        raise _nonsense(4, bytes((version, code)))
    if code != GRANTED:
        reason = REJECTED.get(code) or f"reply code {code}"
        if code == 91:
            raise Refusal(f"it could not reach {target.text} ({reason})", kind="target", reason=reason)
        kind: RefusalKind = "credentials" if code in REJECTED else "other"
        raise Refusal(f"it refused to connect to {target.text} ({reason})", kind=kind)
    bound = yield 6
    port, address = int.from_bytes(bound[:2], "big"), IPv4Address(bound[2:])
    return "" if address.is_unspecified or not port else format_address(str(address), port)


def _nonsense(version: int, said: bytes) -> Refusal:
    return Refusal(f"its answer is not SOCKS {version}", kind="nonsense", said=said)


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _encoded(text: str) -> bytes:
    """Return the bytes that percent-decoding made this text of."""
    return text.encode("utf-8", "surrogateescape")
