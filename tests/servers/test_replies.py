"""`:reply` against real daemons: right and wrong answers, bodies, literals, and what is sent at once."""

from __future__ import annotations

import base64

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.program import Result, cfcat
from tests.servers.fleet import Fleet, Name
from tests.servers.mail import PASSWORD, USER

pytestmark = pytest.mark.one_python

MAIL = r"Subject: x\r\n\r\na2 OK is a trick\r\n"
MAIL_BYTES = len(MAIL.encode().decode("unicode_escape"))
PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
SCRIPTS: dict[Name, str] = {
    "smtp": r"""
:reply 220
EHLO me.example
:reply (?s)250-.*^250[ ]
NOOP
:reply 250
:send RSET\r\nNOOP\r\n
:reply 250
:reply 250
QUIT
:reply 221
""",
    "lmtp": r"""
:reply 220
LHLO me.example
:reply (?s)250-.*^250
QUIT
:reply 221
""",
    "ftp": r"""
:reply 220
FEAT
:reply (?s)211-.*^211[ ]
NOOP
:reply 5
QUIT
:reply 221
""",
    "nntp": r"""
:reply 20
CAPABILITIES
:reply (?s)101 .*^VERSION 2.*^\.
HELP
:reply (?s)100 .*^\.
DATE
:reply 111
LIST ACTIVE
:reply \d\d\d
QUIT
:reply 205
""",
    "pop3": rf"""
CAPA
:reply (?s)\+OK.*^SASL.*^\.
USER {USER}
:reply \+OK
PASS {PASSWORD}
:reply \+OK
LIST
:reply (?s)\+OK.*^\.
STAT
:reply \+OK \d
RETR 999
:reply -ERR
QUIT
:reply \+OK
""",
    "imap": rf"""
a1 LOGIN {USER} {PASSWORD}
:reply a1 OK
a2 APPEND INBOX {{{MAIL_BYTES}}}
:reply \+
:send {MAIL}
:send \r\n
:reply a2 OK
a3 SELECT INBOX
:reply a3 OK
a4 FETCH * BODY[]
:reply a4 OK
a5 NOOP
a6 LOGOUT
:reply a6 OK
""",
    "sieve": rf"""
:reply OK
AUTHENTICATE "PLAIN" "{PLAIN}"
:reply OK
PUTSCRIPT "a" {{7+}}
:send keep;\r\n
:send \r\n
:reply OK
GETSCRIPT "a"
:reply OK
GETSCRIPT "b"
:reply NO
LISTSCRIPTS
:reply OK
LOGOUT
:reply OK
""",
    "redis": r"""
PING
:reply \+PONG
DEL reply-list
:reply :
RPUSH reply-list a +OK c
:reply :3
LRANGE reply-list 0 -1
:reply (?s)\*3\r\n.*\+OK.*c
EVAL "return {1,{2,{'x'}},false}" 0
:reply \*3
GET nothing
:reply \$-1
BOGUS
:reply -ERR
HELLO 3
:reply %
PING
PING
:reply \+PONG
:reply \+PONG
QUIT
:reply \+OK
""",
}
# Where a login is taken under TLS alone; POP3's and IMAP's greeting goes with the dialog.
UNDER_TLS = ("pop3", "imap", "sieve")

# Whose protocol need not be named, though the port is not the usual one.
GREET = ("smtp", "lmtp", "ftp", "nntp", *UNDER_TLS)


def talk(daemon: Fleet, certs: CertSet, name: Name, script: str) -> Result:
    options = ["--starttls", name, "--cacert", str(certs.ca)] if name in UNDER_TLS else []
    if name not in GREET:
        options += ["--proto", name]
    return cfcat("--repl", *options, f"localhost:{daemon(name).port}", stdin=script.encode())


@pytest.mark.parametrize("name", SCRIPTS)
def test_whole_dialog(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """Each reply once, in its order; what is literal, or a body, is no reply."""
    result = talk(daemon, certs, name, ":timeout 8" + SCRIPTS[name])
    assert result.status == 0, result
    assert ":reply" not in result.stderr


def test_wrong_answer_of_exim_ends_the_script_at_once(daemon: Fleet, certs: CertSet) -> None:
    """BOGUS is answered 500, whatever 250 came before."""
    script = ":reply 220\nEHLO x\n:reply 250\nNOOP\n:reply 250\nRSET\n:reply 250\nBOGUS\n:reply 250\nQUIT\n"
    result = talk(daemon, certs, "smtp", script)
    assert result.status == 1
    assert result.stderr.startswith('cfcat: line 9: :reply 250: the reply is "500 ')


def test_silence_of_a_daemon_is_told(daemon: Fleet, certs: CertSet) -> None:
    """Nothing was asked."""
    result = talk(daemon, certs, "redis", ":reply -t 0.2 x\n")
    assert result.stderr == "cfcat: line 1: :reply x: no whole reply within 0.2 s; nothing was received\n"
