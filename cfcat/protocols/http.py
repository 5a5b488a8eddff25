"""HTTP/1.1: by hand, and its upgrade to TLS, which printers and CUPS have."""

from __future__ import annotations

import re

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step, left
from cfcat.protocols.text import REQUEST_FOR_TLS, TYPED, read_line, words

__all__ = ["SECRETS", "VERBS", "client", "server"]

VERBS = (  # RFC 9110
    *("GET / HTTP/1.1", "HEAD / HTTP/1.1", "OPTIONS * HTTP/1.1"),
    *words("GET HEAD POST PUT DELETE OPTIONS TRACE PATCH CONNECT"),
    *("Accept: ", "Accept-Encoding: ", "Authorization: ", "Cache-Control: ", "Connection: close", "Content-Length: "),
    *("Content-Type: ", "Cookie: ", "Expect: 100-continue", "Host: ", "If-Modified-Since: ", "If-None-Match: "),
    *("Origin: ", "Range: bytes=", "Referer: ", "Transfer-Encoding: chunked", "Upgrade: ", "User-Agent: "),
)
_WORD = rb"(?:(?:\w+_)?token|api_?key|key|(?:\w+_)?secret|password|passwd|pwd|sig(?:nature)?)"
SECRETS = (
    rb"((?:Proxy-)?Authorization:\s*(?:[\w-]+\s+)?)\S",
    rb"(Cookie:\s*)\S",
    rb"((?:X-)?(?:[\w]+-)*(?:Api-?Key|Auth-Key|Auth-Token|Access-Token|Security-Token|Secret):\s*)\S",
    rb"([A-Z]+\s+[a-z]+://[^/\s:@]*:)[^/\s@]+@",  # a password in the address
    rb"([A-Z]+\s+[^\s?]*\?(?:[^\s&=]*=[^\s&]*&)*" + _WORD + rb"=)[^\s&]",  # or in the query
    rb"((?:[^\s&=]+=[^\s&]*&)*(?:password|passwd|client_secret|refresh_token)=)[^\s&]",  # or in a form
)
STATUS = re.compile(rb"HTTP/1\.\d (\d{3})(?: .*)?")
SWITCHING = 101
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
FIELDS = frozenset({b"upgrade", b"connection", b"content-length", b"transfer-encoding"})  # those that are kept
TLS_TOKEN = re.compile(rb"TLS/\d+\.\d+", re.IGNORECASE)


def client(names: Names) -> Dialog:
    """RFC 9110 §7.8 and RFC 2817 §3.2: an upgrade that is required before anything else is asked.

    The server answers the OPTIONS itself under TLS (RFC 2817 §3.3): that is the first that comes there.
    """
    host = f"[{names.server_name}]" if ":" in names.server_name else names.server_name
    request = f"OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n"
    yield Send(request.encode())
    status, line = yield from _read_status()
    while 100 <= status < 200 and status != SWITCHING:  # they come before the answer itself (RFC 9110 §15.2)
        yield from _read_fields()
        status, line = yield from _read_status()
    if status != SWITCHING:
        raise DialogError(f"the server did not upgrade to TLS (status {status})", said=line)
    upgrade = yield from _read_upgrade()
    if not _has_tls(upgrade):
        raise DialogError("the server switched to a protocol that is not TLS", said=upgrade)
    return None


def _read_status() -> Step[tuple[int, bytes]]:
    line = yield from read_line("answer to OPTIONS", b"H")
    match = STATUS.fullmatch(line)
    if match is None:
        raise Nonsense(line)
    return int(match[1]), line


def _read_upgrade() -> Step[bytes]:
    """Read the header to its end, and return what all its fields named Upgrade say, with commas between them."""
    return (yield from _read_fields()).get(b"upgrade", b"")


def _read_fields() -> Step[dict[bytes, bytes]]:
    """Read the header to its end, and return those of FIELDS, by name. Values of one name have commas between them."""
    fields: dict[bytes, list[bytes]] = {}
    while line := (yield from read_line("header")):
        match = FIELD.fullmatch(line)
        if match is None:
            raise Nonsense(line)
        if (name := match[1].lower()) in FIELDS:
            fields.setdefault(name, []).append(match[2].strip())
    return {name: b",".join(values) for name, values in fields.items()}


def _has_tls(upgrade: bytes) -> bool:
    return any(TLS_TOKEN.fullmatch(token.strip()) for token in upgrade.split(b","))


REQUEST = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/1\.(\d)")
UPGRADE = b"Upgrade: TLS/1.0, HTTP/1.1\r\n"


def server(names: Names) -> Dialog:
    """RFC 2817 §3, §4.2: a request without an upgrade to TLS gets 426; the answer to one with it comes under TLS."""
    while True:
        line = yield from read_line(REQUEST_FOR_TLS, TYPED)
        if not line:  # RFC 9112 §2.2
            continue
        match = REQUEST.fullmatch(line)
        if match is None:
            raise Nonsense(line)
        fields = yield from _read_fields()
        has_body = fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields
        if _has_tls(fields.get(b"upgrade", b"")) and not has_body:
            yield Send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" + UPGRADE + b"\r\n")
            return None
        ends = has_body or match[1] == b"0" or b"close" in fields.get(b"connection", b"").lower()
        connection = b"Connection: close, Upgrade\r\n" if ends else b"Connection: Upgrade\r\n"
        yield Send(b"HTTP/1.1 426 Upgrade Required\r\n" + connection + UPGRADE + b"Content-Length: 0\r\n\r\n")
        if ends:
            raise left("a request without Upgrade")
