"""IRC."""

from __future__ import annotations

import re

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step, left
from cfcat.protocols.text import REQUEST_FOR_TLS, SASL_MECHANISM, read_line, words

__all__ = ["GREETING", "SECRETS", "VERBS", "client", "server", "starttls_answer"]

VERBS = (  # RFC 2812, IRCv3
    *words("NICK USER PASS JOIN PART PRIVMSG NOTICE QUIT PING PONG MODE TOPIC NAMES LIST INVITE KICK WHO WHOIS WHOWAS"),
    *("CAP LS 302", "CAP REQ", "CAP END", "STARTTLS", "AUTHENTICATE", "OPER", "AWAY", "ISON", "USERHOST"),
    *words("MOTD LUSERS VERSION STATS LINKS TIME ADMIN INFO"),
)
_BEGIN = rb"((?:@\S+\s+)?(?::\S+\s+)?"  # the tags of IRCv3, and a source
_SERVICE = rb"(?:(?:PRIVMSG|SQUERY|NOTICE)\s+)?(?:NICKSERV|NS|CHANSERV|CS|AUTHSERV|Q|X)(?:@\S+)?\s+:?"
SECRETS = (  # RFC 2812, IRCv3 sasl and account-registration, and the services of most networks
    _BEGIN + rb"AUTHENTICATE\s+)(?!(?:" + SASL_MECHANISM + rb"|[+*])\s*$)\S",
    _BEGIN + rb"PASS\s+)\S",
    _BEGIN + rb"OPER\s+\S+\s+)\S",
    _BEGIN + rb"REGISTER\s+\S+\s+\S+\s+)\S",
    _BEGIN + _SERVICE + rb"(?:IDENTIFY|GHOST|REGAIN|RECOVER|RELEASE|REGISTER|LOGIN|AUTH|NEWPASS|SET\s+PASSWORD)\s+)\S",
)
GREETING = rb"(?::\S+ )?NOTICE "  # of its look-ups, before anything is asked
# RFC 1459 §2.3.1, and the tags of IRCv3 before it.
MESSAGE = re.compile(rb"(?:@[^ ]+ +)?(?P<source>:[^ ]+ +)?(?P<command>[A-Za-z]+|\d{3})(?: .*)?")
MESSAGE_BEGIN = re.compile(rb"(?:@[^ ]+ +)?(?::[^ ]+ +)?")
FIRST = bytes(range(33, 127)) + b"\r\n"
GO_AHEAD = b"670"
REFUSALS = frozenset({b"691", b"451", b"421"})


def client(names: Names) -> Dialog:
    """IRCv3 `tls` (deprecated there): numerics 670 and 691. 451 and 421 are from servers that do not know it.

    Servers send notices before it (their look-ups); they and whatever else comes are dropped. Many never answer.
    """
    yield Send(b"STARTTLS\r\n")
    yield from starttls_answer()
    return None


def starttls_answer() -> Step[None]:
    """The answer to STARTTLS."""
    while True:
        line = yield from read_line("answer to STARTTLS", FIRST)
        if not line:
            continue
        match = MESSAGE.fullmatch(line)
        if match is None:
            raise Nonsense(line)
        command = match["command"].upper()
        if command == GO_AHEAD:
            return
        if command in REFUSALS:
            raise DialogError(f"the server refused STARTTLS (numeric {command.decode()})", said=line)
        if command == b"ERROR":
            raise DialogError("the server ended the IRC session (ERROR)", said=line)
        if command.isdigit() and not match["source"]:
            raise Nonsense(line)  # a reply of SMTP or FTP: numerics of IRC name the server first (RFC 2812 §2.4)


# Before TLS a client may register with these, and is told nothing yet.
UNANSWERED = frozenset({b"NICK", b"USER", b"PASS", b"PONG", b"CAP END", b""})


def server(names: Names) -> Dialog:
    """IRCv3 `tls`, and what a client says on the way there: CAP, NICK, USER, PASS, PING (RFC 2812 §3)."""
    source = f":{names.server_name} ".encode()
    answers = {
        b"CAP LS": b"CAP * LS :tls",
        b"CAP LIST": b"CAP * LIST :",
        b"CAP REQ :TLS": b"CAP * ACK :tls",
        b"CAP REQ TLS": b"CAP * ACK :tls",
    }
    while True:
        line = yield from read_line(REQUEST_FOR_TLS, FIRST)
        command = b" ".join(MESSAGE_BEGIN.sub(b"", line, count=1).upper().split())
        two = b" ".join(command.split()[:2])
        verb = command.partition(b" ")[0]
        if verb == b"STARTTLS":
            yield Send(source + b"670 * :STARTTLS successful, proceed with TLS handshake\r\n")
            return None
        if verb == b"QUIT":
            yield Send(b"ERROR :Closing link\r\n")
            raise left("QUIT")
        if verb == b"PING":
            yield Send(
                source + b"PONG " + names.server_name.encode() + b" :" + line.partition(b" ")[2].lstrip(b":") + b"\r\n"
            )
        elif answer := answers.get(command) or answers.get(two):
            yield Send(source + answer + b"\r\n")
        elif verb not in UNANSWERED and two not in UNANSWERED:
            yield Send(source + b"451 * :Begin TLS first (STARTTLS)\r\n")
