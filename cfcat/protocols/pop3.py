"""POP3."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step
from cfcat.protocols.text import first_word, read_line, serve_commands, words

__all__ = ["CHALLENGE", "GREETING", "SECRETS", "VERBS", "client", "server", "stls_answer"]

VERBS = words("CAPA STLS USER PASS APOP AUTH STAT LIST UIDL RETR TOP DELE RSET NOOP QUIT")  # RFC 1939, 2449, 5034
SECRETS = (rb"(AUTH\s+[\w-]+\s+)\S", rb"(PASS\s+)\S", rb"(APOP\s+\S+\s+)\S")  # RFC 1939, 5034
CHALLENGE = rb"\+(?: |$)"
GREETING = rb"\+OK"  # RFC 1939 §4


def client(names: Names) -> Dialog:
    """RFC 2595 §4; the two answers there are: RFC 1939 §3, in upper case."""
    yield from _read_ok("greeting", "the connection")
    yield Send(b"STLS\r\n")
    yield from stls_answer()
    return None


def stls_answer() -> Step[None]:
    """The answer to STLS."""
    return _read_ok("answer to STLS", "STLS")


def _read_ok(what: str, request: str) -> Step[None]:
    line = yield from read_line(what, b"+-")
    word = first_word(line)
    if word == b"-ERR":
        raise DialogError(f"the server refused {request} (-ERR)", said=line)
    if word != b"+OK":
        raise Nonsense(line)


def server(names: Names) -> Dialog:
    """RFC 2595 §4; CAPA: RFC 2449 §5. Without TLS nothing but STLS is offered."""
    yield Send(f"+OK {names.server_name} POP3 cfcat\r\n".encode())
    answers = {b"CAPA": b"+OK\r\nSTLS\r\n.\r\n", b"QUIT": b"+OK bye\r\n"}
    yield from serve_commands((b"STLS",), answers, b"-ERR begin TLS first (STLS)\r\n")
    yield Send(b"+OK begin TLS\r\n")
    return None
