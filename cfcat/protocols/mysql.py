"""MySQL and MariaDB."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import (
    MAX_MESSAGE_BYTES,
    TLS_FIRST_BYTES,
    Dialog,
    Exactly,
    Names,
    Nonsense,
    Send,
    speaks_tls,
)

__all__ = ["GREETING", "client"]

# Capabilities (those that s_client sends, CLIENT_SSL and CLIENT_PROTOCOL_41 among them), 16 MiB a packet, UTF-8.
SSL_REQUEST = bytes.fromhex("20000001 85ae7f00 00000001 21") + bytes(23)
CLIENT_SSL = 0x0800
GREETING = rb"(?s)..\0\0\n[0-9]"  # a packet's length, number 0, protocol 10, and the server's version
ERROR = b"\xff"  # how an ERR packet begins


def client(names: Names) -> Dialog:
    """MySQL, Protocol::HandshakeV10 and Protocol::SSLRequest: no answer, the ClientHello follows at once.

    So the greeting is the go-ahead: without CLIENT_SSL in the greeting TLS is not possible. It also has the salt of a
    password login, which is lost with it.
    """
    head = yield Exactly(4, "greeting")
    length = int.from_bytes(head[:3], "little")
    if head[0] in TLS_FIRST_BYTES and head[1] == 3 and length > MAX_MESSAGE_BYTES:
        raise speaks_tls()  # 15 03 01, 16 03 03: one byte is not enough to decide: it can also be part of a length
    begin = b""
    if head[3] and length:  # the sequence number: that of a greeting is 0, an error may have any
        begin = yield Exactly(1, "greeting")
        if begin != ERROR:
            raise Nonsense(head + begin)
    greeting = begin + (yield Exactly(length - len(begin), "greeting"))
    if greeting[:1] == ERROR and length >= 3:
        text = greeting[3:]
        code = int.from_bytes(greeting[1:3], "little")
        raise DialogError(
            f"the server refused the connection (error {code})", said=text[6:] if text[:1] == b"#" else text
        )
    capabilities = greeting.find(b"\0", 1) + 1 + 4 + 8 + 1  # after version, thread, salt and filler
    if greeting[:1] != b"\x0a" or b"\0" not in greeting[1:] or len(greeting) < capabilities + 2:
        raise Nonsense(head + greeting)
    if not int.from_bytes(greeting[capabilities : capabilities + 2], "little") & CLIENT_SSL:
        raise DialogError("the server does not offer TLS (its greeting is without CLIENT_SSL)")
    yield Send(SSL_REQUEST)
    return None
