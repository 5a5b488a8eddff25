"""IMAP. We send CAPABILITY and ignore the answer, as in `smtp` (SEC-R3)."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step
from cfcat.protocols.text import first_word, read_line, words

__all__ = ["CHALLENGE", "GREETING", "SECRETS", "VERBS", "client", "starttls_answer"]

VERBS = (  # RFC 9051, 2342, 4314, 9208, 7162
    *words("CAPABILITY NOOP LOGOUT STARTTLS LOGIN ENABLE ID NAMESPACE SELECT EXAMINE CREATE DELETE RENAME"),
    *("AUTHENTICATE PLAIN", "AUTHENTICATE LOGIN", "AUTHENTICATE XOAUTH2"),
    *words("SUBSCRIBE UNSUBSCRIBE LIST LSUB STATUS APPEND IDLE DONE CHECK CLOSE UNSELECT EXPUNGE SEARCH FETCH"),
    *words("STORE COPY MOVE GETQUOTA GETQUOTAROOT SETQUOTA GETACL SETACL MYRIGHTS COMPRESS"),
    *("UID FETCH", "UID SEARCH", "UID STORE", "UID COPY", "UID MOVE", "UID EXPUNGE"),
)
SECRETS = (rb"(\S+\s+LOGIN\s+)\S", rb"(\S+\s+AUTHENTICATE\s+[\w-]+\s+)\S")
CHALLENGE = rb"\+(?: |$)"
GREETING = rb"\* OK"  # RFC 9051 §7.1.1


def client(names: Names) -> Dialog:
    """RFC 9051 §6.2.1, RFC 2595 §3; PREAUTH: RFC 9051 §7.1.4, and rule SEC-R4."""
    line = yield from read_line("greeting", b"*")
    status = _untagged_status(line)
    if status == b"PREAUTH":
        raise DialogError("the IMAP session is already authenticated (PREAUTH): STARTTLS is not possible", said=line)
    if status != b"OK":
        raise Nonsense(line)
    yield Send(b"a CAPABILITY\r\n")
    yield from _read_tagged(b"a", "CAPABILITY")
    yield Send(b"b STARTTLS\r\n")
    yield from starttls_answer(b"b")
    return None


def starttls_answer(tag: bytes) -> Step[None]:
    """The answer to STARTTLS with this tag."""
    line = yield from _read_tagged(tag, "STARTTLS")
    status = _second_word(line)
    if status != b"OK":
        raise DialogError(f"the server refused STARTTLS ({status.decode()})", said=line)


def _read_tagged(tag: bytes, request: str) -> Step[bytes]:
    """Return the answer with our tag; the untagged ones before it are dropped."""
    while True:
        line = yield from read_line(f"answer to {request}")
        word = first_word(line)
        if word == tag and _second_word(line) in (b"OK", b"NO", b"BAD"):
            return line
        if word != b"*":
            raise Nonsense(line)
        _untagged_status(line)


def _untagged_status(line: bytes) -> bytes:
    """The word after the asterisk; BYE is the end wherever it comes."""
    if first_word(line) != b"*":
        raise Nonsense(line)
    status = _second_word(line)
    if status == b"BYE":
        raise DialogError("the server ended the IMAP session (BYE)", said=line)
    return status


def _second_word(line: bytes) -> bytes:
    return first_word(line.partition(b" ")[2]).upper()
