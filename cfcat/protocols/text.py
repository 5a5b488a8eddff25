"""What the protocols made of lines have in common: lines, reply codes, refusals.

A code or a word counts as a whole token only: `2200`, `220go` and `+OKAY` are nonsense, `220` without text is not.
A line ends with LF, with or without a CR before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Exactly, Nonsense, Send, Step, Until, left

__all__ = [
    "DIGITS",
    "REQUEST_FOR_TLS",
    "SASL_MECHANISM",
    "TYPED",
    "Reply",
    "first_word",
    "read_command_line",
    "read_go_ahead",
    "read_line",
    "read_replies",
    "read_reply",
    "refusal",
    "serve_commands",
    "words",
]

DIGITS = b"0123456789"
TYPED = bytes(range(32, 127)) + b"\t\r\n"  # how a command may begin
REQUEST_FOR_TLS = "request for TLS"  # what a server waits for, in messages
# Used in patterns of secrets: a mechanism's name is not a secret.
SASL_MECHANISM = rb"(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|EXTERNAL|XOAUTH2|OAUTHBEARER|ANONYMOUS|SCRAM-[\w-]+)"
# A string that is announced by its length; the line goes on after it. "+": the client does not wait until it may send.
LITERAL = re.compile(rb".*\{(\d{1,10})(\+?)\}")
REPLY = re.compile(rb"(\d{3})(?:([ -]).*)?")


class Reply(NamedTuple):
    """One line of a reply with a code. `more`: it is not the last one."""

    code: int
    more: bool
    line: bytes


def words(text: str) -> tuple[str, ...]:
    """The verbs in `text`, which has blanks between them."""
    return tuple(text.split())


def read_line(what: str, first: bytes = b"") -> Step[bytes]:
    """Return the next line without its end."""
    line = yield Until(b"\n", what, first)
    return line.removesuffix(b"\n").removesuffix(b"\r")


def first_word(line: bytes) -> bytes:
    """What is before the first blank."""
    return line.partition(b" ")[0]


def read_reply(what: str) -> Step[Reply]:
    """Return one line of a reply as in SMTP, FTP and NNTP."""
    line = yield from read_line(what, DIGITS)
    match = REPLY.fullmatch(line)
    if match is None:
        raise Nonsense(line)
    return Reply(int(match[1]), match[2] == b"-", line)


def read_replies(what: str, code: int, request: str) -> Step[None]:
    """Read a reply of one or more lines, all with this code (SMTP, LMTP)."""
    more = True
    while more:
        reply = yield from read_reply(what)
        if reply.code != code:
            raise refusal(reply, what, code, request)
        more = reply.more


def read_go_ahead(request: str, code: int) -> Step[None]:
    """Read the answer to STARTTLS or its like: the go-ahead is this code, on one line or on each of several."""
    yield from read_replies(f"answer to {request}", code, request)


def refusal(reply: Reply, what: str, expected: int, request: str) -> DialogError:
    """For a code that is not the expected one. `request`: the request that the code refuses."""
    if reply.code >= 400:
        return DialogError(f"the server refused {request} (code {reply.code})", said=reply.line)
    return DialogError(f"the server's {what} is code {reply.code}, not {expected}", said=reply.line)


def serve_commands(requests: tuple[bytes, ...], answers: Mapping[bytes, bytes], otherwise: bytes) -> Step[None]:
    """As the server, answer commands until one of the requests for TLS comes; its answer is the caller's.

    `answers`: by the command in upper case, whole or its first word. Anything else gets `otherwise`. QUIT has an
    answer, and is the end.
    """
    while True:
        command = b" ".join((yield from read_line(REQUEST_FOR_TLS, TYPED)).upper().split())
        if command in requests:
            return
        verb = first_word(command)
        yield Send(answers.get(command) or answers.get(verb, otherwise))
        if verb == b"QUIT":
            raise left("QUIT")


def read_command_line(*, announces: bool) -> Step[bytes]:
    """As the server, read a command of IMAP or ManageSieve, and return its first line.

    A command goes on behind a string that has its length before it. `announces`: after a length without "+" the client
    waits until it may send the string. It may not, so its command ends there (RFC 9051 §4.3). In ManageSieve it does
    not wait (RFC 5804 §4).
    """
    line = part = yield from read_line(REQUEST_FOR_TLS, TYPED)
    while (literal := LITERAL.fullmatch(part)) and (literal[2] or not announces):
        yield Exactly(int(literal[1]), REQUEST_FOR_TLS)
        part = yield from read_line(REQUEST_FOR_TLS)
    return line
