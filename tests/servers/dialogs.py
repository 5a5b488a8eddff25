"""What a client and each daemon say to each other, written by hand and apart from the package.

With blocking sockets, Python's `ssl`, and one answer awaited after the other: an independent judge of whether
a daemon does what the tests of the package rely on.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from tests.servers.chat import xmpp_header
from tests.servers.fleet import Name

__all__ = ["DIALOGS", "Dialog", "Refused", "converse", "exchange", "upgrade"]


class Refused(Exception):
    """The daemon answered that it does not start TLS."""


@dataclass(frozen=True)
class Dialog:
    """One protocol; answers are regular expressions, which match as soon as the answer is there."""

    ask: bytes  # a question for any time
    answer: bytes
    greeting: bytes = b""  # what the daemon begins with, if it does
    hello: tuple[bytes, bytes] | None = None  # what must be said and answered before the request for TLS
    request: bytes = b""  # for TLS
    agreed: bytes = b""
    refused: bytes = b""
    greets_again: bool = False  # under TLS after the upgrade
    ask_upgraded: bytes | None = None  # where it differs


def _mysql(number: int, more: bytes = b"") -> bytes:
    """Return packet `number`: SSLRequest, or with a user and a password, a login."""
    tls = 0x0800 if number == 2 or not more else 0  # CLIENT_SSL, and again in what follows under TLS
    capabilities = 0x00008201 | tls  # SECURE_CONNECTION, PROTOCOL_41, LONG_PASSWORD
    body = capabilities.to_bytes(4, "little") + (1 << 24).to_bytes(4, "little") + bytes([45]) + bytes(23) + more
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def _startup() -> bytes:
    body = b"\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
    return (len(body) + 4).to_bytes(4) + body


_START_TLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
_PROCEED = rb"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'\s*/>"


def _xmpp(stream: str) -> Dialog:
    question = xmpp_header(stream), rb"<stream:features>.*</stream:features>|<stream:features/>"
    return Dialog(
        *question,
        hello=question,
        request=_START_TLS,
        agreed=_PROCEED,
        refused=rb"<failure|</stream:stream>",
    )


def _smtp(hello: bytes) -> Dialog:
    return Dialog(
        hello,
        rb"^250 .*\n",
        greeting=rb"^220 .*\n",
        hello=(hello, rb"^250 .*\n"),
        request=b"STARTTLS\r\n",
        agreed=rb"^220 .*\n",
        refused=rb"^5\d\d .*\n",
    )


DIALOGS: dict[Name, Dialog] = {
    "smtp": _smtp(b"EHLO client.test\r\n"),
    "lmtp": _smtp(b"LHLO client.test\r\n"),
    "imap": Dialog(
        b"a NOOP\r\n",
        rb"^a OK .*\n",
        greeting=rb"^\* OK .*\n",
        request=b"b STARTTLS\r\n",
        agreed=rb"^b OK .*\n",
        refused=rb"^b (NO|BAD) .*\n",
    ),
    "pop3": Dialog(
        b"CAPA\r\n",
        rb"^\.\r\n",
        greeting=rb"^\+OK .*\n",
        request=b"STLS\r\n",
        agreed=rb"^\+OK .*\n",
        refused=rb"^-ERR .*\n",
    ),
    "sieve": Dialog(
        b"NOOP\r\n",
        rb"^OK .*\n",
        greeting=rb"^OK .*\n",
        request=b"STARTTLS\r\n",
        agreed=rb"^OK .*\n",
        refused=rb"^NO .*\n",
        greets_again=True,
    ),
    "ftp": Dialog(
        b"FEAT\r\n",
        rb"^211 End\r\n",
        greeting=rb"^220 .*\n",
        request=b"AUTH TLS\r\n",
        agreed=rb"^234 .*\n",
        refused=rb"^5\d\d .*\n",
    ),
    "nntp": Dialog(
        b"LIST\r\n",
        rb"^\.\r\n",
        greeting=rb"^200 .*\n",
        request=b"STARTTLS\r\n",
        agreed=rb"^382 .*\n",
        refused=rb"^5\d\d .*\n",
    ),
    "xmpp": _xmpp("client"),
    "xmpp-server": _xmpp("server"),
    "irc": Dialog(
        b"CAP LS 302\r\n",
        rb"^:\S+ CAP \S+ LS .*\n",
        request=b"STARTTLS\r\n",
        agreed=rb"^:\S+ 670 .*\n",
        refused=rb"^:\S+ 691 .*\n",
    ),
    "ldap": Dialog(
        bytes.fromhex("300c 020101 6007 020103 0400 8000"),  # an anonymous bind
        rb"\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
        request=b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
        agreed=rb"\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
        refused=rb"(?s:\x78.\x0a\x01[^\x00].*)",
    ),
    "postgres": Dialog(
        _startup(),
        rb"Z\x00\x00\x00\x05I",
        request=bytes.fromhex("00000008 04d2162f"),
        agreed=rb"^S",
        refused=rb"^N",
    ),
    "mysql": Dialog(
        _mysql(1, b"root\x00\x00"),
        rb"(?s:^\x07\x00\x00.\x00.{6})",  # OK
        greeting=rb"(?s:^.{3}\x00\x0a[^\x00]*-MariaDB.*\x00mysql_native_password\x00)",
        ask_upgraded=_mysql(2, b"root\x00\x00"),
        request=_mysql(1),
    ),
    "nats": Dialog(
        b'CONNECT {"verbose":false}\r\nPING\r\n',
        rb"^PONG\r\n",
        greeting=rb"^INFO \{.*\} \r\n",
    ),
    "redis": Dialog(b"PING\r\n", rb"^\+PONG\r\n"),
    "mqtt": Dialog(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01p", rb"\x20\x02\x00\x00"),
    "http": Dialog(b"GET / HTTP/1.0\r\n\r\n", rb"^hello\n"),
    "gopher": Dialog(b"\r\n", rb"^\.\r\n"),
}


def upgrade(sock: socket.socket, dialog: Dialog) -> None:
    """Ask for TLS in clear text, as a new client; after this the handshake begins.

    Raises:
        Refused: the daemon answers no.
    """
    greeting = exchange(sock, b"", dialog.greeting)
    if dialog is DIALOGS["mysql"]:  # which answers before it is asked
        version, _, rest = greeting[5:].partition(b"\x00")
        if not int.from_bytes(rest[13:15], "little") & 0x0800:
            raise Refused(version)
        sock.sendall(dialog.request)
        return
    if dialog is DIALOGS["nats"]:  # likewise
        if not re.search(rb'"tls_(required|available)":true', greeting):
            raise Refused(greeting)
        return
    if dialog.hello:
        exchange(sock, *dialog.hello)
    answer = exchange(sock, dialog.request, b"|".join((b"(%s)" % dialog.agreed, dialog.refused)))
    if not re.search(dialog.agreed, answer, re.M):
        raise Refused(answer)


def converse(sock: socket.socket, dialog: Dialog, *, upgraded: bool = False) -> bytes:
    """Greet, ask the question, and return its answer: in clear text, under TLS, or after an upgrade."""
    if not upgraded or dialog.greets_again:
        exchange(sock, b"", dialog.greeting)
    question = dialog.ask_upgraded if upgraded and dialog.ask_upgraded else dialog.ask
    return exchange(sock, question, dialog.answer)


def exchange(sock: socket.socket, say: bytes, answer: bytes) -> bytes:
    """Send `say` and return what comes until `answer` matches; nothing must come behind it.

    Raises:
        EOFError: the connection ended before.
    """
    sock.sendall(say)
    seen = b""
    while not (found := re.search(answer, seen, re.M)):
        if not (chunk := sock.recv(1 << 16)):
            raise EOFError(f"the connection ended after {seen!r}")
        seen += chunk
    assert found.end() == len(seen) or not answer, f"more than an answer: {seen!r}"
    return seen
