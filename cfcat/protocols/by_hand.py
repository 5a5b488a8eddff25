"""STARTTLS that the user has typed: has the server agreed, and said nothing more?

Pure. Before an upgrade without a dialog this looks at the last line that was sent and at what has come since. It reads
the answer as the dialogs do; requests it does not know are allowed. Source: rules SEC-R2 and SEC-R6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cfcat.errors import DialogError
from cfcat.protocols import ftp, imap, irc, nntp, pop3, sieve, xmpp
from cfcat.protocols.dialog import SAID_BYTES, TLS_FIRST_BYTES, Exactly, Nonsense, Send, Step, injected, speaks_tls
from cfcat.protocols.text import read_go_ahead

__all__ = ["check_go_ahead"]

Answer = Callable[[], Step[None]]
# SMTP with LMTP, NNTP, ManageSieve and IRC have the same request: the answer says which it was.
_STARTTLS: tuple[Answer, ...] = (
    lambda: read_go_ahead("STARTTLS", 220),
    nntp.starttls_answer,
    sieve.starttls_answer,
    irc.starttls_answer,
)
_TAGGED = re.compile(rb"(\S+) +STARTTLS", re.IGNORECASE)
_AUTH_TLS = re.compile(rb"AUTH +(TLS|TLS-C|SSL)", re.IGNORECASE)  # RFC 4217 §2, and an older name
_XMPP = re.compile(rb"<(?:[\w.-]+:)?starttls[\s/>]")


def check_go_ahead(sent: bytes, received: bytes) -> None:
    """Object to an upgrade for which `sent` asked and to which `received`, all that came since, does not agree.

    `sent`: the last line, with its end or without. No objection where it is no request for TLS.

    Raises:
        DialogError: the server has not answered yet, has refused, or what it said is no answer.
        InjectionError: it said more than its go-ahead; `count` is by how many bytes.
    """
    request, answers = _expected(sent.strip())
    if not answers:
        return
    surplus: list[int] = []
    refusals: list[DialogError] = []
    incomplete = False
    for answer in answers:
        try:
            rest = _surplus(answer(), received)
        except Nonsense:
            continue
        except DialogError as error:
            refusals.append(error)
            continue
        if rest is None:
            incomplete = True
        else:
            surplus.append(rest)
    if surplus:
        if count := max(surplus):  # use the first go-ahead in the data
            raise injected(count)
    elif refusals:
        refusals[0].said = refusals[0].said[:SAID_BYTES]
        raise refusals[0]
    elif incomplete:
        raise DialogError(f"no answer to {request} yet")
    elif received[0] in TLS_FIRST_BYTES:
        raise speaks_tls()
    else:
        raise DialogError(f"the server's answer to {request} is no go-ahead", said=received[:SAID_BYTES])


def _expected(line: bytes) -> tuple[str, Sequence[Answer]]:
    """Whether a line asks for TLS, and how the peer may answer; no answers where the line does not ask."""
    if line.upper() == b"STARTTLS":
        return "STARTTLS", _STARTTLS
    if line.upper() == b"STLS":
        return "STLS", (pop3.stls_answer,)
    if _AUTH_TLS.fullmatch(line):
        return "AUTH TLS", (ftp.auth_tls_answer,)
    if tagged := _TAGGED.fullmatch(line):
        tag = tagged[1]
        return "STARTTLS", (lambda: imap.starttls_answer(tag),)
    if _XMPP.match(line):
        return "<starttls/>", (xmpp.starttls_answer,)
    return "", ()


def _surplus(answer: Step[None], received: bytes) -> int | None:
    """How many bytes there are behind the answer; None where it is not all there.

    Raises:
        Nonsense, DialogError: as the reader of that answer does.
    """
    start = 0
    try:
        need = next(answer)
        while True:
            assert not isinstance(need, Send)
            if need.first and received[start : start + 1] and received[start] not in need.first:
                raise Nonsense(received)
            if isinstance(need, Exactly):
                end = start + need.size
                complete = end <= len(received)
            else:
                end = received.find(need.mark, start) + 1
                complete = end > 0
            if not complete:
                return None
            piece, start = received[start:end], end
            need = answer.send(piece)
    except StopIteration:
        return len(received) - start
