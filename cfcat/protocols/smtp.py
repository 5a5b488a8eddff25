"""SMTP, and LMTP, which is the same dialog with LHLO.

Capabilities are asked for, since the dialog has it so, and not looked at: whoever could forge STARTTLS away could
forge it in as well, so the answer to STARTTLS itself decides (SEC-R3).
"""

from __future__ import annotations

from cfcat.protocols.dialog import Dialog, Names, Send
from cfcat.protocols.text import read_go_ahead, read_replies, words

__all__ = ["CHALLENGE", "GREETING", "LMTP_VERBS", "SECRETS", "VERBS", "lmtp_client", "smtp_client"]

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
