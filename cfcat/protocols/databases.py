"""PostgreSQL, MySQL with MariaDB, and Microsoft SQL Server."""

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
from cfcat.protocols.wrapper import END_OF_MESSAGE, HEADER_BYTES, TABULAR_RESULT, HandshakeWrapper, packets

__all__ = ["mssql", "mysql", "postgres"]

POSTGRES_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")


def postgres(names: Names) -> Dialog:
    """PostgreSQL, frontend/backend protocol, "SSL Session Encryption": one byte, and no other may follow.

    Nothing that the server says here is quoted: an error message of an attacker would look like the server's
    (CVE-2024-10977, CVE-2021-23222).
    """
    yield Send(POSTGRES_SSL_REQUEST)
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


# Capabilities (those that s_client sends, CLIENT_SSL and CLIENT_PROTOCOL_41 among them), 16 MiB a packet, UTF-8.
MYSQL_SSL_REQUEST = bytes.fromhex("20000001 85ae7f00 00000001 21") + bytes(23)
CLIENT_SSL = 0x0800


def mysql(names: Names) -> Dialog:
    """MySQL, Protocol::HandshakeV10 and Protocol::SSLRequest: no answer, the ClientHello follows at once.

    So the greeting is the go-ahead: without CLIENT_SSL in it there is nobody to be asked. It also has the salt of a
    password login, which is lost with it.
    """
    head = yield Exactly(4, "greeting")
    length = int.from_bytes(head[:3], "little")
    if head[0] in TLS_FIRST_BYTES and head[1] == 3 and length > MAX_MESSAGE_BYTES:
        raise speaks_tls()  # 15 03 01, 16 03 03: not a byte to be judged alone, it may well be that of a length
    if head[3] != 0:  # the sequence number
        raise Nonsense(head)
    greeting = yield Exactly(length, "greeting")
    if greeting[:1] == b"\xff" and length >= 3:
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
    yield Send(MYSQL_SSL_REQUEST)
    return None


# The options of MS-TDS 4.1, VERSION first as 2.2.6.5 wants it: offset and length of each, then their values.
TDS_PRELOGIN = bytes.fromhex(
    "00 001a 0006  01 0020 0001  02 0021 0001  03 0022 0004  04 0026 0001  ff"
    "090000000000  01  00  00000000  00"  # VERSION, ENCRYPTION on, INSTOPT, THREADID, MARS off
)
TDS_ENCRYPTION = 0x01
TDS_TERMINATOR = 0xFF
TDS_ENCRYPT_OFF, TDS_ENCRYPT_ON, TDS_ENCRYPT_NOT_SUPPORTED, TDS_ENCRYPT_REQUIRED = range(4)


def mssql(names: Names) -> Dialog:
    """MS-TDS 2.2.6.5 (PRELOGIN, its ENCRYPTION option), 4.1 (an example), 3.2.5.2 and 3.2.5.3 (what the client does).

    For TDS 7; in TDS 8 ("strict") TLS comes first, without a dialog.
    """
    answer = "answer to PRELOGIN"
    yield Send(packets(TDS_PRELOGIN))
    header = yield Exactly(HEADER_BYTES, answer, bytes((TABULAR_RESULT,)))
    length = int.from_bytes(header[2:4], "big")
    if length < HEADER_BYTES or not header[1] & END_OF_MESSAGE:
        raise Nonsense(header)
    encryption = _tds_encryption((yield Exactly(length - HEADER_BYTES, answer)))
    if encryption == TDS_ENCRYPT_OFF:
        raise DialogError("the server would encrypt the login only (ENCRYPT_OFF)")
    if encryption not in (TDS_ENCRYPT_ON, TDS_ENCRYPT_REQUIRED):
        raise DialogError("the server does not offer TLS (ENCRYPT_NOT_SUP)")
    return HandshakeWrapper()


def _tds_encryption(prelogin: bytes) -> int | None:
    """The value of ENCRYPTION in the server's PRELOGIN; None where it is not said."""
    found = None
    for start in range(0, len(prelogin), 5):
        if prelogin[start] == TDS_TERMINATOR:
            return found
        option = prelogin[start : start + 5]
        offset, length = int.from_bytes(option[1:3], "big"), int.from_bytes(option[3:5], "big")
        if len(option) < 5 or offset + length > len(prelogin):
            break
        if option[0] == TDS_ENCRYPTION:
            if length != 1 or found is not None:
                break
            found = prelogin[offset]
    raise Nonsense(prelogin)
