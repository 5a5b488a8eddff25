"""SMTP, and LMTP, which is the same dialog with LHLO.

The client asks for capabilities, since the dialog has it so, and does not look at them: whoever could forge STARTTLS
away could forge it in as well, so the answer to STARTTLS itself decides (SEC-R3).
"""

from __future__ import annotations

from cfcat.protocols.dialog import Dialog, Names, Send
from cfcat.protocols.text import read_go_ahead, read_replies, serve_commands, words

__all__ = [
    "CHALLENGE",
    "GREETING",
    "LMTP_VERBS",
    "SECRETS",
    "VERBS",
    "lmtp_client",
    "lmtp_server",
    "smtp_client",
    "smtp_server",
]

_MAIL_VERBS = (
    *("STARTTLS", "AUTH PLAIN", "AUTH LOGIN", "AUTH CRAM-MD5", "AUTH XOAUTH2", "MAIL FROM:<", "RCPT TO:<"),
    *words("DATA BDAT RSET VRFY EXPN ETRN NOOP HELP QUIT"),
)
VERBS = ("EHLO", "HELO", *_MAIL_VERBS)  # RFC 5321, 3207, 4954, 3030, 1985
LMTP_VERBS = ("LHLO", *_MAIL_VERBS)  # RFC 2033
SECRETS = (rb"(AUTH\s+[\w-]+\s+)\S",)  # RFC 4954
CHALLENGE = rb"334(?: |$)"
GREETING = rb"220[ -](?!.*(?i:ftp))"  # RFC 5321 §4.2; FTP's begins alike, and most servers of FTP name it


def smtp_client(names: Names) -> Dialog:
    """RFC 3207 §4; the replies, of one line or several: RFC 5321 §4.2. EHLO is to be said again under TLS."""
    return _client("EHLO", names)


def lmtp_client(names: Names) -> Dialog:
    """RFC 2033 §4.1: as SMTP, with LHLO."""
    return _client("LHLO", names)


def _client(hello: str, names: Names) -> Dialog:
    yield from read_replies("greeting", 220, "the connection")
    yield Send(f"{hello} {names.client_name}\r\n".encode("ascii"))
    yield from read_replies(f"answer to {hello}", 250, hello)
    yield Send(b"STARTTLS\r\n")
    yield from read_go_ahead("STARTTLS", 220)
    return None


def smtp_server(names: Names) -> Dialog:
    """RFC 3207 §4: before TLS a client may say EHLO, NOOP, RSET and QUIT; anything else is refused with 530."""
    return _server("ESMTP", ("EHLO", "HELO"), names)


def lmtp_server(names: Names) -> Dialog:
    """RFC 2033 §4.1: as SMTP, with LHLO."""
    return _server("LMTP", ("LHLO",), names)


def _server(title: str, hellos: tuple[str, ...], names: Names) -> Dialog:
    yield Send(f"220 {names.server_name} {title} cfcat\r\n".encode())
    hello = f"250-{names.server_name}\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n".encode()
    answers = {verb.encode(): hello for verb in hellos}
    if "HELO" in hellos:
        answers[b"HELO"] = f"250 {names.server_name}\r\n".encode()  # it knows no extensions (RFC 5321 §4.1.1.1)
    for verb in (b"NOOP", b"RSET"):
        answers[verb] = b"250 2.0.0 OK\r\n"
    answers[b"QUIT"] = b"221 2.0.0 Bye\r\n"
    answers[b"STARTTLS"] = b"501 5.5.4 STARTTLS takes no parameter\r\n"
    yield from serve_commands((b"STARTTLS",), answers, b"530 5.7.0 Must issue a STARTTLS command first\r\n")
    yield Send(b"220 2.0.0 Ready to start TLS\r\n")
    return None
