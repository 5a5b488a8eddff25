"""PostgreSQL."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import TLS_FIRST_BYTES, Dialog, Exactly, Names, Nonsense, Send, left, speaks_tls

__all__ = ["client", "server"]

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")


def client(names: Names) -> Dialog:
    """PostgreSQL, frontend/backend protocol, "SSL Session Encryption": one byte, and no other may follow.

    Nothing that the server says here is quoted: an error message of an attacker would look like the server's
    (CVE-2024-10977, CVE-2021-23222).
    """
    yield Send(SSL_REQUEST)
    answer = yield Exactly(1, "answer to SSLRequest")
    if answer == b"S":
        return None
    if answer == b"N":
        raise DialogError("the server refused SSLRequest: it does not offer TLS")
    if answer == b"E":
        raise DialogError("the server refused SSLRequest with an error, whose text cannot be trusted")
    if answer[0] in TLS_FIRST_BYTES:
        raise speaks_tls()
    raise DialogError("the server's answer to SSLRequest is not PostgreSQL")


# The codes in place of a protocol version, and the version of every startup since 2003 (major 3).
CANCEL, SSL, GSS = 80877102, 80877103, 80877104
STARTUP_MAJOR = 3
NO_TLS = b"SFATAL\0VFATAL\0C28000\0Mbegin TLS first (sslmode=require)\0\0"  # invalid_authorization_specification


def server(names: Names) -> Dialog:
    """PostgreSQL, "Message Flow": SSLRequest, GSSENCRequest, CancelRequest, StartupMessage; they have no type byte."""
    while True:
        head = yield Exactly(8, "startup packet", b"\0")
        length, code = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        if length < 8 or (code in (SSL, GSS) and length != 8):
            raise Nonsense(head)
        if code == SSL:
            yield Send(b"S")
            return None
        if code == GSS:
            yield Send(b"N")
            continue
        yield Exactly(length - 8, "startup packet")
        if code == CANCEL:  # the server just closes
            raise left("CancelRequest")
        if code >> 16 != STARTUP_MAJOR:
            raise Nonsense(head)
        yield Send(b"E" + (4 + len(NO_TLS)).to_bytes(4, "big") + NO_TLS)
        raise left("StartupMessage")
