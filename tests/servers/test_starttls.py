"""`cfcat --starttls PROTO` against real daemons: the upgrade, a command under TLS, its answer, and the end."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.certs import CertSet, Kind
from tests.helpers.program import Program, Result, cfcat, finish, start
from tests.report.form import check_form
from tests.servers import daemons
from tests.servers.dialogs import DIALOGS
from tests.servers.fleet import ONE_VERSION, UPGRADING, Fleet, Name
from tests.servers.launcher import Daemon, Tls

pytestmark = pytest.mark.one_python

EACH = pytest.mark.parametrize("name", UPGRADING)
DEADLINE_S = 10.0
TRUNCATED = "the connection ended without TLS close_notify: output may be truncated"


class Goodbye(NamedTuple):
    """How a session is ended: what is said, what stdout then ends with, and whether the daemon says close_notify."""

    said: bytes
    last_words: bytes = rb"\Z"
    in_order: bool = True


GOODBYES: dict[Name, Goodbye] = {
    "smtp": Goodbye(b"QUIT\r\n", rb"^221 .*\n\Z"),
    "lmtp": Goodbye(b"QUIT\r\n", rb"^221 .*\n\Z"),
    "imap": Goodbye(b"z LOGOUT\r\n", rb"^\* BYE .*\nz OK .*\n\Z"),
    "pop3": Goodbye(b"QUIT\r\n", rb"^\+OK .*\n\Z"),
    "sieve": Goodbye(b"LOGOUT\r\n", rb"^OK .*\n\Z"),
    "ftp": Goodbye(b"QUIT\r\n", rb"^221 .*\n\Z", in_order=False),
    "nntp": Goodbye(b"QUIT\r\n", rb"^205 .*\n\Z"),
    "xmpp": Goodbye(b"</stream:stream>", rb"</stream:stream>\Z"),
    "xmpp-server": Goodbye(b"</stream:stream>", rb"</stream:stream>\Z"),
    "irc": Goodbye(b"QUIT :bye\r\n", rb"^ERROR :.*\n\Z"),
    "ldap": Goodbye(bytes.fromhex("3005 020102 4200")),  # unbind, Terminate and COM_QUIT have no answer
    "postgres": Goodbye(b"X\x00\x00\x00\x04"),
    "mysql": Goodbye(b"\x01\x00\x00\x00\x01", in_order=False),
    "nats": Goodbye(b"QUIT\r\n", rb"^-ERR 'Unknown Protocol Operation'\r\n\Z"),  # a client leaves without a word
}


def options(name: Name, certs: CertSet) -> list[str]:
    return ["--starttls", name, "--cacert", str(certs.ca)]


def target(daemon: Daemon) -> str:
    return f"localhost:{daemon.port}"


def read_until(program: Program, answer: bytes) -> bytes:
    """Return what is printed from here on, once `answer` matches in it."""
    assert program.stdout is not None
    before = len(program.seen_stdout)
    while not re.search(answer, program.seen_stdout[before:], re.M):
        program.seen_stdout += program._more(program.stdout, answer)
    return program.seen_stdout[before:]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@EACH
def test_command_is_answered_under_tls(daemon: Fleet, certs: CertSet, name: Name, version: Tls) -> None:
    """SEC-R2: stdout is what came under TLS and nothing else; 0, or 18 from vsftpd and MariaDB (no close_notify)."""
    dialog, goodbye = DIALOGS[name], GOODBYES[name]
    running = daemon(name, tls=version if name in ONE_VERSION else "any")
    chosen = [] if name in ONE_VERSION else ["--tls-min", version, "--tls-max", version]
    with start(*options(name, certs), *chosen, target(running)) as program:
        if dialog.greets_again:
            read_until(program, dialog.greeting)
        program.say(dialog.ask_upgraded or dialog.ask)
        answer = read_until(program, dialog.answer)
        program.say(goodbye.said)
        program.wait(DEADLINE_S)  # with stdin open: who closes on our close_notify unread, resets the connection
        result = finish(program)
    assert answer
    assert re.search(goodbye.last_words, result.stdout, re.M), result
    if dialog.agreed:
        assert not re.match(dialog.agreed, result.stdout)
    if goodbye.in_order:
        assert (result.stderr, result.status) == ("", 0)
    else:
        assert check_form(result.stderr)[0] == f"{target(running)}: {TRUNCATED}"
        assert result.status == 18


@EACH
def test_daemon_without_tls_refuses(daemon: Fleet, certs: CertSet, name: Name, tmp_path: Path) -> None:
    """SEC-R2: 64, and stdin is not read; InspIRCd without TLS is silent, so there the deadline ends it with 28."""
    stdin = tmp_path / "stdin"
    stdin.write_bytes(b"secret")
    running = daemon(name, tls="off")
    patience = ["--connect-timeout", "0.5"] if name == "irc" else []
    with stdin.open("rb") as file:
        result = cfcat(*options(name, certs), *patience, target(running), stdin=file)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    text, _ = check_form(result.stderr)
    assert (result.stdout, result.status) == (b"", 28 if name == "irc" else 64)
    assert text.startswith(f"{target(running)}: the ")


def test_nats_that_takes_tls_only(daemon: Fleet, certs: CertSet) -> None:
    """Its INFO has tls_required, where that of the other tests has tls_available; it wants our certificate too."""
    dialog, running = DIALOGS["nats"], daemon("nats", client_auth="require")
    ours = ["--cert", str(certs.client.chain), "--key", str(certs.client.key)]
    with start("-v", *options("nats", certs), *ours, target(running)) as program:
        program.say(dialog.ask)
        answer = read_until(program, dialog.answer)
        program.say(GOODBYES["nats"].said)
        program.wait(DEADLINE_S)
        result = finish(program)
    assert answer == b"PONG\r\n"
    assert '"tls_required":true' in result.stderr
    assert result.status == 0


BAD: dict[Kind, str] = {
    "untrusted": "it was issued by 'Testing CA #",
    "incomplete": "it was issued by 'Testing CA #",
    "self_signed": "it is self-signed",
    "wrong_host": "it is for other.test, not localhost",
    "cn_only": "it names no host: there is no subject alternative name, and its subject does not count",
    "expired": "it expired on 2020-01-02",
    "not_yet": "it is not valid before 2040-01-01",
}


@pytest.mark.parametrize(
    ("name", "kind"), [*(("smtp", kind) for kind in BAD), ("imap", "expired"), ("imap", "incomplete")]
)
def test_bad_certificate(daemon: Fleet, certs: CertSet, name: Name, kind: Kind, tmp_path: Path) -> None:
    """Step 4: 60 with the certificate's own sentence, whether GnuTLS (exim) or OpenSSL (dovecot) presents it."""
    stdin = tmp_path / "stdin"
    stdin.write_bytes(b"secret")
    running = daemon(name, cert=kind)
    with stdin.open("rb") as file:
        result = cfcat(*options(name, certs), target(running), stdin=file)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    text, hint = check_form(result.stderr)
    assert (result.stdout, result.status) == (b"", 60)
    assert text.startswith(f"{target(running)}: certificate not trusted: {BAD[kind]}")
    assert hint.endswith("-k connects anyway, without protection")


@pytest.mark.parametrize("name", ["smtp", "imap"])
def test_all_of_stdin_at_once_is_answered(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """Half-close: command, goodbye and close_notify together; exim and dovecot answer it all (prosody, nnrpd not)."""
    dialog, goodbye, running = DIALOGS[name], GOODBYES[name], daemon(name)
    result = cfcat(*options(name, certs), target(running), stdin=dialog.ask + goodbye.said)
    assert re.search(dialog.answer, result.stdout, re.M), result
    assert re.search(goodbye.last_words, result.stdout, re.M), result
    assert (result.stderr, result.status) == ("", 0)


@pytest.mark.parametrize("name", ["imap", "xmpp", "xmpp-server"])
def test_end_of_stdin_ends_the_session(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """Half-close: dovecot and prosody need no goodbye but close_notify, and answer with theirs."""
    dialog, running = DIALOGS[name], daemon(name)
    with start(*options(name, certs), target(running)) as program:
        program.say(dialog.ask)
        read_until(program, dialog.answer)
        program.end_input()
        result = finish(program)
    assert (result.stderr, result.status) == ("", 0)


def test_end_of_stdin_does_not_end_exim_but_quit_after_does(daemon: Fleet, certs: CertSet) -> None:
    """Half-close: exim waits on in clear text after close_notify; SEC-R9: that is not shown; -q leaves with 0."""
    dialog = DIALOGS["smtp"]
    with start(*options("smtp", certs), "-q", "0.5", target(daemon("smtp"))) as program:
        program.say(dialog.ask)
        answer = read_until(program, dialog.answer)
        program.end_input()
        assert finish(program) == Result(answer, "", 0)


def test_download_over_tls_is_whole_after_the_end_of_stdin(nginx: Daemon, certs: CertSet) -> None:
    """The half-close table, nginx, which has no upgrade: 10 MiB come after our close_notify."""
    with start("--tls", "on", "--cacert", certs.ca, f"localhost:{nginx.tls_port}") as program:
        program.say(b"GET /10M.bin HTTP/1.0\r\n\r\n")
        read_until(program, rb"\r\n\r\n")
        result = finish(program)
    assert (result.stderr, result.status) == ("", 0)
    whole = result.stdout.partition(b"\r\n\r\n")[2] == daemons.NGINX_FILE  # not in the assertion: 10 MiB
    assert whole
