"""FTP and NNTP."""

from __future__ import annotations

from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step
from cfcat.protocols.text import Reply, read_go_ahead, read_line, read_reply, refusal

__all__ = ["ftp", "nntp"]


def ftp(names: Names) -> Dialog:
    """RFC 4217 §4; replies of more than one line: RFC 959 §4.2.

    It protects the control connection. For those of the data it takes `PBSZ 0` and `PROT P` under TLS.
    """
    reply = yield from read_reply("greeting")
    if reply.code != 220:
        raise refusal(reply, "greeting", 220, "the connection")
    more = reply.more
    while more:  # the lines between the first and the last may have no code
        line = yield from read_line("greeting")
        more = line != b"220" and not line.startswith(b"220 ")
    yield Send(b"AUTH TLS\r\n")
    yield from read_go_ahead("AUTH TLS", 234)
    return None


def nntp(names: Names) -> Dialog:
    """RFC 4642 §2.2; greeting and CAPABILITIES: RFC 3977 §5.1, §5.2.

    A server that does not know CAPABILITIES is asked all the same (R3).
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
    yield from read_go_ahead("STARTTLS", 382)
    return None


def _read_status(what: str) -> Step[Reply]:
    """Return a reply, which in NNTP has one line with a code."""
    reply = yield from read_reply(what)
    if reply.more:
        raise Nonsense(reply.line)
    return reply
