"""SMTP, LMTP, POP3, IMAP and ManageSieve.

Capabilities are asked for where the dialog has it so, and not looked at: whoever could forge STARTTLS away could
forge it in as well, so the answer to STARTTLS itself decides (R3).
"""

from __future__ import annotations

import re

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, Step
from cfcat.protocols.text import first_word, read_go_ahead, read_line, read_replies

__all__ = ["imap", "imap_answer", "lmtp", "pop3", "pop3_answer", "sieve", "sieve_answer", "smtp"]

# A string that is announced by its length (RFC 5804 §4): the line goes on after it.
LITERAL = re.compile(rb".*\{(\d{1,10})\+?\}")
SIEVE_FIRST = b'"{OoNnBb'


def smtp(names: Names) -> Dialog:
    """RFC 3207 §4; the replies: RFC 5321 §4.2. EHLO is to be said again under TLS."""
    return _mail("EHLO", names)


def lmtp(names: Names) -> Dialog:
    """RFC 2033 §4.1: as SMTP, with LHLO."""
    return _mail("LHLO", names)


def _mail(hello: str, names: Names) -> Dialog:
    yield from read_replies("greeting", 220, "the connection")
    yield Send(f"{hello} {names.client_name}\r\n".encode("ascii"))
    yield from read_replies(f"answer to {hello}", 250, hello)
    yield Send(b"STARTTLS\r\n")
    yield from read_go_ahead("STARTTLS", 220)
    return None


def pop3(names: Names) -> Dialog:
    """RFC 2595 §4; the two answers there are: RFC 1939 §3, in upper case."""
    yield from _read_ok("greeting", "the connection")
    yield Send(b"STLS\r\n")
    yield from pop3_answer()
    return None


def pop3_answer() -> Step[None]:
    """The answer to STLS."""
    return _read_ok("answer to STLS", "STLS")


def _read_ok(what: str, request: str) -> Step[None]:
    line = yield from read_line(what, b"+-")
    word = first_word(line)
    if word == b"-ERR":
        raise DialogError(f"the server refused {request} (-ERR)", said=line)
    if word != b"+OK":
        raise Nonsense(line)


def imap(names: Names) -> Dialog:
    """RFC 9051 §6.2.1, RFC 2595 §3; PREAUTH: RFC 9051 §7.1.4, and rule R4."""
    line = yield from read_line("greeting", b"*")
    status = _untagged_status(line)
    if status == b"PREAUTH":
        raise DialogError("the IMAP session is already authenticated (PREAUTH): STARTTLS is not possible", said=line)
    if status != b"OK":
        raise Nonsense(line)
    yield Send(b"a CAPABILITY\r\n")
    yield from _read_tagged(b"a", "CAPABILITY")
    yield Send(b"b STARTTLS\r\n")
    yield from imap_answer(b"b")
    return None


def imap_answer(tag: bytes) -> Step[None]:
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


def sieve(names: Names) -> Dialog:
    """RFC 5804 §2.2; greeting: §1.7; answers: §1.2. Under TLS the server sends its capabilities again."""
    while (yield from _read_sieve("list of capabilities", "the connection")) != b"OK":
        pass
    yield Send(b"STARTTLS\r\n")
    yield from sieve_answer()
    return None


def sieve_answer() -> Step[None]:
    """The answer to STARTTLS."""
    if (yield from _read_sieve("answer to STARTTLS", "STARTTLS")) != b"OK":
        raise DialogError("the server's answer to STARTTLS is a capability, not OK")


def _read_sieve(what: str, request: str) -> Step[bytes]:
    """Read a capability or an answer, strings with their length before them included; return its first word."""
    line = part = yield from read_line(what, SIEVE_FIRST)
    while literal := LITERAL.fullmatch(part):
        line += yield Exactly(int(literal[1]), what)
        part = yield from read_line(what)
    word = first_word(line).upper()
    if word in (b"NO", b"BYE"):
        raise DialogError(f"the server refused {request} ({word.decode()})", said=line)
    if word != b"OK" and not line.startswith((b'"', b"{")):
        raise Nonsense(line)
    return word
