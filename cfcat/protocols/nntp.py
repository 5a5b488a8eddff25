"""NNTP."""

from __future__ import annotations

from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step
from cfcat.protocols.text import Reply, read_line, read_reply, refusal, serve_commands, words

__all__ = ["CHALLENGE", "GREETING", "SECRETS", "VERBS", "client", "server", "starttls_answer"]

VERBS = (  # RFC 3977, 4642, 4643
    *words("CAPABILITIES STARTTLS GROUP LISTGROUP ARTICLE HEAD BODY STAT OVER XOVER HDR XHDR NEXT LAST POST IHAVE"),
    *("MODE READER", "AUTHINFO USER", "AUTHINFO PASS", "AUTHINFO SASL", "LIST ACTIVE", "LIST NEWSGROUPS"),
    *words("NEWGROUPS NEWNEWS DATE HELP QUIT"),
)
SECRETS = (rb"(AUTHINFO\s+(?:PASS|SASL\s+[\w-]+)\s+)\S",)  # RFC 4643
CHALLENGE = rb"383(?: |$)"
GREETING = rb"20[01] "  # RFC 3977 §5.1


def client(names: Names) -> Dialog:
    """RFC 4642 §2.2; greeting and CAPABILITIES: RFC 3977 §5.1, §5.2.

    A server that does not know CAPABILITIES is asked all the same (SEC-R3).
    """
    reply = yield from _read_status("greeting")
    if reply.code not in (200, 201):
        raise refusal(reply, "greeting", 200, "the connection")
    yield Send(b"CAPABILITIES\r\n")
    reply = yield from _read_status("answer to CAPABILITIES")
    if reply.code == 101:
        while (yield from read_line("list of capabilities")) != b".":
            pass
    yield Send(b"STARTTLS\r\n")
    yield from starttls_answer()
    return None


def starttls_answer() -> Step[None]:
    """The answer to STARTTLS."""
    what = "answer to STARTTLS"
    reply = yield from _read_status(what)
    if reply.code != 382:
        raise refusal(reply, what, 382, "STARTTLS")


def _read_status(what: str) -> Step[Reply]:
    """Return a reply, which in NNTP has one line with a code."""
    reply = yield from read_reply(what)
    if reply.more:
        raise Nonsense(reply.line)
    return reply


def server(names: Names) -> Dialog:
    """RFC 4642 §2.2; CAPABILITIES, MODE READER and QUIT: RFC 3977 §5."""
    yield Send(f"200 {names.server_name} NNTP cfcat\r\n".encode())
    answers = {
        b"CAPABILITIES": b"101 Capability list:\r\nVERSION 2\r\nREADER\r\nSTARTTLS\r\n.\r\n",
        b"MODE READER": b"200 Reading allowed\r\n",
        b"QUIT": b"205 Bye\r\n",
        b"STARTTLS": b"501 STARTTLS takes no argument\r\n",
    }
    yield from serve_commands((b"STARTTLS",), answers, b"483 Begin TLS first (STARTTLS)\r\n")
    yield Send(b"382 Continue with TLS negotiation\r\n")
    return None
