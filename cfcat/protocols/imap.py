"""IMAP. As the client we send CAPABILITY and ignore the answer, as in `smtp` (SEC-R3)."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step, left
from cfcat.protocols.text import first_word, read_command_line, read_line, words

__all__ = ["CHALLENGE", "GREETING", "SECRETS", "VERBS", "client", "server", "starttls_answer"]

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


CAPABILITY = b"CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED"


def server(names: Names) -> Dialog:
    """RFC 9051 §6.1, §6.2.1; LOGINDISABLED: RFC 2595 §3.2; PRIVACYREQUIRED: RFC 5530 §3."""
    yield Send(b"* OK [" + CAPABILITY + f"] {names.server_name} IMAP cfcat\r\n".encode())
    while True:
        tag, _, command = (yield from read_command_line(announces=True)).partition(b" ")
        verb = first_word(command).upper()
        if not tag or not verb:
            yield Send(b"* BAD a command is a tag and a verb\r\n")
        elif verb == b"STARTTLS":
            yield Send(tag + b" OK begin TLS\r\n")
            return None
        elif verb == b"LOGOUT":
            yield Send(b"* BYE\r\n" + tag + b" OK bye\r\n")
            raise left("LOGOUT")
        elif verb in (b"CAPABILITY", b"NOOP"):
            yield Send((b"* " + CAPABILITY + b"\r\n" if verb == b"CAPABILITY" else b"") + tag + b" OK done\r\n")
        else:
            yield Send(tag + b" NO [PRIVACYREQUIRED] begin TLS first (STARTTLS)\r\n")
