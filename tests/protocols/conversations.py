"""Conversations that carry secrets, as data: who says what, and which bytes nobody may see who was not there.

All places that keep something are checked with these: the history, the log, the export and the screen.
"""

from __future__ import annotations

from typing import NamedTuple

from cfcat.record.events import Direction
from tests.protocols.test_secrets import HARMLESS, SECRET

__all__ = ["CONVERSATIONS", "Conversation", "said"]


class Conversation(NamedTuple):
    """`said`: each line with who says it, "sent" or "received". `secrets` may not be seen, `shown` has to be."""

    name: str
    protocol: str | None
    said: tuple[tuple[Direction, bytes], ...]
    secrets: tuple[bytes, ...]
    shown: tuple[bytes, ...] = ()


def said(*lines: bytes) -> tuple[tuple[Direction, bytes], ...]:
    """Lines of a conversation: "S: " begins what the server says, all else is sent."""
    return tuple(("received", line[3:]) if line.startswith(b"S: ") else ("sent", line) for line in lines)


def _by_hand(name: str, protocol: str | None, *lines: bytes, secrets: tuple[bytes, ...]) -> Conversation:
    sent = b"".join(line for line in lines if not line.startswith(b"S: "))
    assert all(secret in sent for secret in secrets), name
    return Conversation(name, protocol, said(*lines), secrets)


def _exchange(protocol: str, begin: bytes, challenge: bytes, verdict: bytes) -> Conversation:
    lines = (
        begin + b"\r\n",
        b"S: " + challenge + b"\r\n",
        b"aHVudGVyMg==\r\n",
        b"S: " + verdict + b"\r\n",
        b"NOOP\r\n",
    )
    return Conversation(
        f"{protocol}: {begin.decode()}, challenged", protocol, said(*lines), (b"aHVudGVyMg==",), (b"NOOP",)
    )


def _unasked(protocol: str, begin: bytes, *answers: bytes) -> Conversation:
    lines = (begin + b"\r\n", *(answer + b"\r\n" for answer in answers), b"NOOP\r\n")
    return Conversation(f"{protocol}: {begin.decode()}, unasked", protocol, said(*lines), answers, (b"NOOP",))


def _array(*words: bytes, secrets: tuple[bytes, ...]) -> Conversation:
    array = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    lines = said(array, b"S: +OK\r\n", b"PING\r\n")
    return Conversation(f"redis array: {words[0].decode()} {len(words)}", "redis", lines, secrets, (b"PING",))


def _prompt(prompt: bytes) -> Conversation:
    lines = said(b"S: " + prompt, b"hunter2\r\n", b"S: \r\n$ ", b"ls\r\n")
    return Conversation(f"prompt {prompt!r}", None, lines, (b"hunter2",), (b"ls",))


BY_VERB = tuple(
    Conversation(f"verb {line!r}", protocol, said(line + b"\r\n"), (line[len(shown) - 4 :],))
    for protocol, line, shown in SECRET
)
NOTHING = tuple(
    Conversation(f"harmless {line!r}", protocol, said(line + b"\r\n"), (), (line,))
    for protocol, line in HARMLESS
    if line
)
EXCHANGES = (
    _exchange("smtp", b"AUTH PLAIN", b"334 ", b"235 ok"),
    _exchange("smtp", b"AUTH CRAM-MD5", b"334 PDE4OTYu", b"535 no"),
    _exchange("lmtp", b"AUTH PLAIN", b"334 ", b"235 ok"),
    _exchange("imap", b"a AUTHENTICATE PLAIN", b"+ ", b"a OK done"),
    _exchange("pop3", b"AUTH PLAIN", b"+ ", b"+OK"),
    _exchange("nntp", b"AUTHINFO SASL PLAIN", b"383 ", b"281 ok"),
    _exchange("sieve", b'AUTHENTICATE "PLAIN"', b'""', b"OK"),
    _unasked("smtp", b"AUTH LOGIN", b"am9lam9l", b"aHVudGVyMg=="),
    _unasked("smtp", b"AUTH PLAIN", b"AGpvZQBodW50ZXIy"),
    _unasked("pop3", b"AUTH PLAIN", b"AGpvZQBodW50ZXIy"),
    _unasked("imap", b"a AUTHENTICATE PLAIN", b"AGpvZQBodW50ZXIy"),
    _unasked("sieve", b'AUTHENTICATE "LOGIN"', b'"am9lam9l"', b'"aHVudGVyMg=="'),
)
ARRAYS = (
    _array(b"AUTH", b"hunter2", secrets=(b"hunter2",)),
    _array(b"AUTH", b"joejoe", b"hunter2", secrets=(b"joejoe", b"hunter2")),
    _array(b"AUTH", b"hunt\ner2\r\nmore", secrets=(b"hunt", b"er2", b"more")),
    _array(b"AUTH", b"joe", b"*1\r\n$99\r\nGHOST", secrets=(b"$99",)),
    _array(b"CONFIG", b"SET", b"requirepass", b"hunter2", secrets=(b"hunter2",)),
    _array(b"CONFIG", b"SET", b"maxmemory", b"1mb", b"requirepass", b"hun\nter2", secrets=(b"hun", b"ter2")),
    _array(b"ACL", b"SETUSER", b"joe", b">hunter2", secrets=(b"hunter2",)),
    _array(b"HELLO", b"3", b"AUTH", b"joejoe", b"hunter2", secrets=(b"joejoe", b"hunter2")),
    _array(b"SET", b"requirepass", b"visible", secrets=()),
)
LITERALS = (
    _by_hand("imap literal", "imap", b"a LOGIN joe {7}\r\n", b"S: + go\r\n", b"hunter2\r\n", secrets=(b"hunter2",)),
    _by_hand("imap literal with LF", "imap", b"a LOGIN joe {8+}\r\nhun\nter2\r\n", secrets=(b"hun", b"ter2")),
    _by_hand("imap literal with CR LF", None, b"a LOGIN joe {9+}\r\nhun\r\nter2\r\n", secrets=(b"hun", b"ter2")),
    _by_hand("two literals", "imap", b"a LOGIN {6+}\r\njoejoe {7+}\r\nhunter2\r\n", secrets=(b"joejoe", b"hunter2")),
    _by_hand("sieve literal", "sieve", b'AUTHENTICATE "PLAIN" {7+}\r\nhunter2\r\n', secrets=(b"hunter2",)),
    _by_hand("sieve literal with LF", "sieve", b'AUTHENTICATE "PLAIN" {9+}\r\nhun\n\nter2\r\n', secrets=(b"ter2",)),
)
PIECES = (
    _by_hand("CR before the verb", None, b"NOOP\rPASS hunter2\r\n", secrets=(b"hunter2",)),
    _by_hand("blank before the verb", "pop3", b"  PASS hunter2\r\n", secrets=(b"hunter2",)),
    _by_hand("telnet before the verb", "ftp", b"\xff\xf4\xff\xf2PASS hunter2\r\n", secrets=(b"hunter2",)),
    _by_hand("folded header", "http", b"Authorization: Basic\r\n hunter2\r\n", secrets=(b"hunter2",)),
    _by_hand("text below its tag", "xmpp", b"<auth mechanism='PLAIN'>\r\nhunter2</auth>", secrets=(b"hunter2",)),
    _by_hand("LF alone", "smtp", b"AUTH PLAIN\naHVudGVyMg==\n", secrets=(b"aHVudGVyMg==",)),
)
PROMPTS = tuple(
    _prompt(prompt)
    for prompt in (
        *(b"Password: ", b"Enter PIN:", b"joe@host's password: ", b"\xff\xfb\x01", b"\xff\xfb\x01Passcode: "),
        *(b"Passwort: ", b"Token: ", b"Welcome\r\nlogin: joe\r\nPassword: "),
    )
)
CONVERSATIONS: tuple[Conversation, ...] = (*(*BY_VERB, *NOTHING, *EXCHANGES, *ARRAYS, *LITERALS, *PIECES, *PROMPTS),)
