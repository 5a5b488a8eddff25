"""FTP: its control connection."""

from __future__ import annotations

from cfcat.protocols.dialog import Dialog, Names, Send
from cfcat.protocols.text import read_go_ahead, read_line, read_reply, refusal, words

__all__ = ["GREETING", "SECRETS", "VERBS", "client"]

VERBS = (  # RFC 959, 2228, 2389, 2428, 3659, 4217
    *("AUTH TLS", "PBSZ 0", "PROT P", "PROT C"),
    *words("USER PASS ACCT CWD CDUP PWD QUIT REIN PORT PASV EPRT EPSV TYPE MODE STRU RETR STOR STOU APPE ALLO REST"),
    *words("RNFR RNTO ABOR DELE RMD MKD LIST NLST MLSD MLST MDTM SIZE SITE SYST STAT HELP NOOP FEAT OPTS CCC HOST"),
)
SECRETS = (rb"(PASS\s+)\S", rb"((?:ACCT|ADAT)\s+)\S")  # RFC 959, 2228
GREETING = rb"[12]20[ -]"  # RFC 959 §5.4


def client(names: Names) -> Dialog:
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
