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
    left,
    speaks_tls,
)

__all__ = ["GREETING", "client", "server", "tls_request_bytes"]

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
    if _begins_tls(head):
        raise speaks_tls()
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


# Protocol::HandshakeV10: version, thread 1, salt, capabilities (CLIENT_SSL, PROTOCOL_41, SECURE_CONNECTION and
# PLUGIN_AUTH among them), UTF-8, autocommit. Its salt need not be secret: nobody logs in without TLS.
SERVER_GREETING = (
    b"\x0a8.0.0-cfcat\0" + bytes.fromhex("01000000") + b"cfcat-sa\0" + bytes.fromhex("0fef 21 0200 0f00 15")
    + bytes(10) + b"lt-of-20-b-y\0" + b"mysql_native_password\0"
)  # fmt: skip
NO_TLS = b"\xff" + (3159).to_bytes(2, "little") + b"#HY000Connections using insecure transport are prohibited"
SSL_REQUEST_BYTES = 32


def server(names: Names) -> Dialog:
    """MySQL, Connection Phase: our greeting, then SSLRequest; the ClientHello comes behind it without an answer."""
    yield Send(_packet(0, SERVER_GREETING))
    head = yield Exactly(4, "answer to the greeting")
    length = int.from_bytes(head[:3], "little")
    if _begins_tls(head):
        raise speaks_tls("client")
    if head[3] != 1 or length < SSL_REQUEST_BYTES:
        raise Nonsense(head)
    answer = yield Exactly(length, "answer to the greeting")
    if int.from_bytes(answer[:2], "little") & CLIENT_SSL and length == SSL_REQUEST_BYTES:
        return None
    yield Send(_packet(2, NO_TLS))
    raise left("login in clear text")


def tls_request_bytes(data: bytes) -> int:
    """How long the SSLRequest is that this begins with; 0: it begins with none. A client's TLS follows at once."""
    size = 4 + SSL_REQUEST_BYTES
    begins = data[:4] == _packet(1, bytes(SSL_REQUEST_BYTES))[:4]
    return size if begins and len(data) >= size and int.from_bytes(data[4:6], "little") & CLIENT_SSL else 0


def _begins_tls(head: bytes) -> bool:
    """15 03 01, 16 03 03: one byte is not enough to decide: it can also be part of a length."""
    return head[0] in TLS_FIRST_BYTES and head[1] == 3 and int.from_bytes(head[:3], "little") > MAX_MESSAGE_BYTES


def _packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes((number,)) + body
