"""HTTP's CONNECT.

Pure. Source: RFC 9110 §9.3.6 (CONNECT), §11.7 (proxies and credentials), §15.2 (1xx); RFC 7617 (Basic).
"""

from __future__ import annotations

import re

from cfcat.core.address import Target, format_address
from cfcat.errors import shortened
from cfcat.proxies.dialog import Dialog, Refusal, Secret, Step

__all__ = ["MAX_HEADER_BYTES", "tunnel"]

MAX_HEADER_BYTES = 64 * 1024  # of all headers together; curl takes 300 KiB, for pages
STATUS = re.compile(rb"HTTP/1\.[01] +(\d{3})(?: .*)?")
SWITCHING = 101
WANTS_CREDENTIALS = frozenset({401, 407})  # 401 is for servers, but tinyproxy sends it for wrong ones
CHALLENGE = re.compile(rb"proxy-authenticate:\s*([A-Za-z0-9-]{1,30})", re.IGNORECASE)  # its first scheme
BASIC = re.compile(rb"proxy-authenticate:(?:.*,)?\s*basic\b", re.IGNORECASE)


def tunnel(target: Target, user: str | None = None, password: str = "") -> Dialog:
    """Ask for a tunnel; the first request has the credentials, if there are any.

    It returns "": HTTP does not say which address the proxy connects from.
    """
    authority = format_address(target.host, target.port)
    request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode()
    if user is None:
        yield request + b"\r\n"
    else:
        yield Secret.between(request + b"Proxy-Authorization: Basic ", _basic(user, password), b"\r\n\r\n")
    left = MAX_HEADER_BYTES
    while True:
        status_line, *fields = yield from _read_header(left)
        left -= len(status_line) + sum(map(len, fields)) + 1
        match = STATUS.fullmatch(status_line)
        status = int(match[1]) if match else 0
        if not 100 <= status <= 599 or status == SWITCHING:
            raise _nonsense(status_line)
        if status >= 200:
            break
    if status >= 300:
        raise _refused(target, status, status_line, fields, has_credentials=user is not None)
    return ""


def _read_header(limit: int) -> Step[list[bytes]]:
    """Return the lines of a header up to the empty one, without line ends.

    It reads byte by byte, because the bytes behind the header are the target's.
    """
    lines: list[bytes] = []
    line = bytearray()
    for _ in range(limit):
        byte = yield 1
        if byte != b"\n":
            line += byte
            if not lines and not b"HTTP/".startswith(line[:5]):
                raise _nonsense(bytes(line))  # at once: such a line may never end
            continue
        if line in (bytearray(), bytearray(b"\r")):
            if not lines:
                raise _nonsense(b"\n")
            return lines
        lines.append(bytes(line).removesuffix(b"\r"))
        line.clear()
    text = f"its answer has no end within {MAX_HEADER_BYTES // 1024} KiB"
    raise Refusal(text, said=lines[0] if lines else bytes(line))


def _refused(target: Target, status: int, line: bytes, fields: list[bytes], *, has_credentials: bool) -> Refusal:
    if status in WANTS_CREDENTIALS:
        schemes = [match[1].decode() for field in fields if (match := CHALLENGE.match(field))]
        if schemes and not any(map(BASIC.match, fields)):
            return Refusal(
                f"it wants authentication by {shortened(schemes)}, and Basic alone is spoken here", said=line
            )
        text = "it refused the user name and the password" if has_credentials else "it wants a user name and a password"
        return Refusal(f"{text} (status {status})", kind="credentials", said=line)
    if status >= 500:  # 502 to 504 mean that; tinyproxy sends 500
        return Refusal(f"it could not reach {target.text} (status {status})", kind="target", said=line)
    return Refusal(f"it refused to connect to {target.text} (status {status})", said=line)


def _nonsense(said: bytes) -> Refusal:
    return Refusal("its answer is not that of an HTTP proxy", kind="nonsense", said=said)


def _basic(user: str, password: str) -> bytes:
    from base64 import b64encode  # lazy: most proxies ask for none

    return b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape"))
