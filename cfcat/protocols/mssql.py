"""Microsoft SQL Server: TDS, whose handshake goes on in packets of its own (see `wrapper`)."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, Step, left
from cfcat.protocols.wrapper import (
    END_OF_MESSAGE,
    HEADER_BYTES,
    PRELOGIN,
    TABULAR_RESULT,
    HandshakeWrapper,
    packets,
)

__all__ = ["client", "server"]

# The options of MS-TDS 4.1, VERSION first as 2.2.6.5 wants it: offset and length of each, then their values.
PRELOGIN_OPTIONS = bytes.fromhex(
    "00 001a 0006  01 0020 0001  02 0021 0001  03 0022 0004  04 0026 0001  ff"
    "090000000000  01  00  00000000  00"  # VERSION, ENCRYPTION on, INSTOPT, THREADID, MARS off
)
ENCRYPTION = 0x01
ENCRYPTION_AT = 0x20  # its value, in the options above
TERMINATOR = 0xFF
ENCRYPT_OFF, ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, ENCRYPT_REQUIRED = range(4)


def client(names: Names) -> Dialog:
    """MS-TDS 2.2.6.5 (PRELOGIN, its ENCRYPTION option), 4.1 (an example), 3.2.5.2 and 3.2.5.3 (what the client does).

    For TDS 7; in TDS 8 ("strict") TLS comes first, without a dialog.
    """
    answer = "answer to PRELOGIN"
    yield Send(packets(PRELOGIN_OPTIONS))
    header = yield Exactly(HEADER_BYTES, answer, bytes((TABULAR_RESULT,)))
    length = int.from_bytes(header[2:4], "big")
    if length < HEADER_BYTES or not header[1] & END_OF_MESSAGE:
        raise Nonsense(header)
    encryption = _encryption((yield Exactly(length - HEADER_BYTES, answer)))
    if encryption == ENCRYPT_OFF:
        raise DialogError("the server would encrypt the login only (ENCRYPT_OFF)")
    if encryption not in (ENCRYPT_ON, ENCRYPT_REQUIRED):
        raise DialogError("the server does not offer TLS (ENCRYPT_NOT_SUP)")
    return HandshakeWrapper()


def _encryption(prelogin: bytes) -> int | None:
    """The value of ENCRYPTION in the server's PRELOGIN; None where it is not said."""
    found = None
    for start in range(0, len(prelogin), 5):
        if prelogin[start] == TERMINATOR:
            return found
        option = prelogin[start : start + 5]
        offset, length = int.from_bytes(option[1:3], "big"), int.from_bytes(option[3:5], "big")
        if len(option) < 5 or offset + length > len(prelogin):
            break
        if option[0] == ENCRYPTION:
            if length != 1 or found is not None:
                break
            found = prelogin[offset]
    raise Nonsense(prelogin)


ENCRYPT_WITH_CERTIFICATE = 0x80  # a flag beside the others: the client has a certificate
ANSWERS = {
    ENCRYPT_OFF: ENCRYPT_REQUIRED,
    ENCRYPT_ON: ENCRYPT_ON,
    ENCRYPT_NOT_SUPPORTED: ENCRYPT_REQUIRED,
    ENCRYPT_REQUIRED: ENCRYPT_ON,
}


def server(names: Names) -> Dialog:
    """MS-TDS 2.2.6.5, 3.3.5.1 (what the server does): all is encrypted, or nothing goes on."""
    wanted = _encryption((yield from _read_prelogin()))
    wanted = ENCRYPT_NOT_SUPPORTED if wanted is None else wanted & ~ENCRYPT_WITH_CERTIFICATE
    answer = bytearray(PRELOGIN_OPTIONS)
    answer[ENCRYPTION_AT] = ANSWERS.get(wanted, ENCRYPT_REQUIRED)
    yield Send(packets(bytes(answer), TABULAR_RESULT))
    if wanted == ENCRYPT_NOT_SUPPORTED:
        raise left("ENCRYPT_NOT_SUP")
    return HandshakeWrapper("client")


def _read_prelogin() -> Step[bytes]:
    """Return a message of the client, of one packet or several."""
    what, message, status = "PRELOGIN", b"", 0
    while not status & END_OF_MESSAGE:
        header = yield Exactly(HEADER_BYTES, what, bytes((PRELOGIN,)))
        length, status = int.from_bytes(header[2:4], "big"), header[1]
        if length < HEADER_BYTES:
            raise Nonsense(header)
        message += yield Exactly(length - HEADER_BYTES, what)
    return message
