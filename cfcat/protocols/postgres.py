"""PostgreSQL."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import TLS_FIRST_BYTES, Dialog, Exactly, Names, Send, speaks_tls

__all__ = ["client"]

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
