"""FTP: its control connection."""

from __future__ import annotations

from cfcat.protocols.dialog import Dialog, Names, Send, Step
from cfcat.protocols.text import first_word, read_line, read_reply, refusal, serve_commands, words

__all__ = ["GREETING", "SECRETS", "VERBS", "auth_tls_answer", "client", "server"]

VERBS = (  # RFC 959, 2228, 2389, 2428, 3659, 4217
    *("AUTH TLS", "PBSZ 0", "PROT P", "PROT C"),
    *words("USER PASS ACCT CWD CDUP PWD QUIT REIN PORT PASV EPRT EPSV TYPE MODE STRU RETR STOR STOU APPE ALLO REST"),
    *words("RNFR RNTO ABOR DELE RMD MKD LIST NLST MLSD MLST MDTM SIZE SITE SYST STAT HELP NOOP FEAT OPTS CCC HOST"),
)
SECRETS = (rb"(PASS\s+)\S", rb"((?:ACCT|ADAT)\s+)\S")  # RFC 959, 2228
GREETING = rb"[12]20[ -]"  # RFC 959 §5.4
NOT_YET, READY = 120, 220
GO_AHEADS = (234, 334)  # RFC 2228 §3: the second one asks for more data, of which TLS has none; old servers say it


def client(names: Names) -> Dialog:
    """RFC 4217 §4; replies of more than one line: RFC 959 §4.2.

    It protects the control connection. To protect data connections, send `PBSZ 0` and `PROT P` under TLS.
    """
    while (yield from _read_code("greeting", (READY, NOT_YET), "the connection")) == NOT_YET:
        pass  # "Service ready in nnn minutes"
    yield Send(b"AUTH TLS\r\n")
    yield from auth_tls_answer()
    return None


def auth_tls_answer() -> Step[None]:
    """The answer to AUTH TLS."""
    yield from _read_code("answer to AUTH TLS", GO_AHEADS, "AUTH TLS")


def _read_code(what: str, codes: tuple[int, ...], request: str) -> Step[int]:
    """Read a reply of one or more lines to its end, and return its code, which has to be one of these."""
    reply = yield from read_reply(what)
    if reply.code not in codes:
        raise refusal(reply, what, codes[0], request)
    more, last = reply.more, b"%03d" % reply.code
    while more:  # the lines between the first and the last may have no code
        line = yield from read_line(what)
        more = first_word(line) != last
    return reply.code


def server(names: Names) -> Dialog:
    """RFC 4217 §4; FEAT: RFC 2389. AUTH SSL, the older name, is taken for AUTH TLS."""
    yield Send(f"220 {names.server_name} FTP cfcat\r\n".encode())
    answers = {
        b"FEAT": b"211-Features:\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n211 End\r\n",
        b"AUTH": b"504 Only AUTH TLS is known here\r\n",
        b"NOOP": b"200 OK\r\n",
        b"QUIT": b"221 Bye\r\n",
    }
    requests = (b"AUTH TLS", b"AUTH TLS-C", b"AUTH SSL")
    yield from serve_commands(requests, answers, b"530 Begin TLS first (AUTH TLS)\r\n")
    yield Send(b"234 Begin TLS\r\n")
    return None
