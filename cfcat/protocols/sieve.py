"""ManageSieve."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, Step, left
from cfcat.protocols.text import LITERAL, first_word, read_command_line, read_line, words

__all__ = ["CHALLENGE", "GREETING", "SECRETS", "VERBS", "client", "server", "starttls_answer"]

VERBS = (  # RFC 5804
    *words("CAPABILITY STARTTLS LISTSCRIPTS GETSCRIPT PUTSCRIPT CHECKSCRIPT SETACTIVE DELETESCRIPT RENAMESCRIPT"),
    *('AUTHENTICATE "PLAIN"', "HAVESPACE", "UNAUTHENTICATE", "NOOP", "LOGOUT"),
)
SECRETS = (rb'(AUTHENTICATE\s+"[\w-]+"\s+)\S',)
CHALLENGE = rb'"[A-Za-z0-9+/=]*"$|\{\d+\+?\}$'
GREETING = rb'"(?i:IMPLEMENTATION)"'  # RFC 5804 §1.7
FIRST = b'"{OoNnBb'


def client(names: Names) -> Dialog:
    """RFC 5804 §2.2; greeting: §1.7; answers: §1.2. Under TLS the server sends its capabilities again."""
    while (yield from _read("list of capabilities", "the connection")) != b"OK":
        pass
    yield Send(b"STARTTLS\r\n")
    yield from starttls_answer()
    return None


def starttls_answer() -> Step[None]:
    """The answer to STARTTLS."""
    if (yield from _read("answer to STARTTLS", "STARTTLS")) != b"OK":
        raise DialogError("the server's answer to STARTTLS is a capability, not OK")


def _read(what: str, request: str) -> Step[bytes]:
    """Read a capability or an answer, strings with their length before them included; return its first word."""
    line = part = yield from read_line(what, FIRST)
    while literal := LITERAL.fullmatch(part):
        line += yield Exactly(int(literal[1]), what)
        part = yield from read_line(what)
    word = first_word(line).upper()
    if word in (b"NO", b"BYE"):
        raise DialogError(f"the server refused {request} ({word.decode()})", said=line)
    if word != b"OK" and not line.startswith((b'"', b"{")):
        raise Nonsense(line)
    return word


def server(names: Names) -> Dialog:
    """RFC 5804 §1.7, §2.2; ENCRYPT-NEEDED: §1.3."""
    capabilities = b'"IMPLEMENTATION" "cfcat"\r\n"SASL" ""\r\n"SIEVE" ""\r\n"STARTTLS"\r\n"VERSION" "1.0"\r\n'
    yield Send(capabilities + f'OK "{names.server_name}"\r\n'.encode())
    answers = {b"CAPABILITY": capabilities + b"OK\r\n", b"NOOP": b"OK\r\n", b"LOGOUT": b'OK "bye"\r\n'}
    while (verb := first_word((yield from read_command_line(announces=False)).upper())) != b"STARTTLS":
        yield Send(answers.get(verb, b'NO (ENCRYPT-NEEDED) "begin TLS first (STARTTLS)"\r\n'))
        if verb == b"LOGOUT":
            raise left("LOGOUT")
    yield Send(b'OK "begin TLS"\r\n')
    return None
