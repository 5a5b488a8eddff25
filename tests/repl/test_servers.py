"""Scripts against real daemons, in the form in which CI would run them."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.program import Result, cfcat, shell
from tests.report.form import check_form
from tests.servers.chat import xmpp_header
from tests.servers.dialogs import DIALOGS
from tests.servers.fleet import Fleet, Name


class Talk(NamedTuple):
    """What a script says to a daemon under TLS, after its dialog or the one typed by hand."""

    lines: str
    by_hand: str = ""  # from the greeting to the go-ahead, `:starttls` included
    in_order: bool = True  # does the daemon end with close_notify?


def hexadecimal(data: bytes) -> str:
    return f":hex {data.hex()}"


TALKS: dict[Name, Talk] = {
    "smtp": Talk(
        "EHLO me\n:expect ^250 .*\\r\\n\n:tls\n:cert\nQUIT\n:expect ^221 .*\\r\\n\n",
        ":expect ^220 .*\\r\\n\nEHLO me\n:expect ^250-STARTTLS\\r\\n\n:expect ^250 .*\\r\\n\n"
        "STARTTLS\n:expect ^220 .*\\r\\n\n:starttls\n",
    ),
    "imap": Talk(
        "b CAPABILITY\n:expect ^b OK .*\\r\\n\n:cert\nc LOGOUT\n:expect ^c OK .*\\r\\n\n",
        ":expect ^\\* OK .*\\r\\n\na STARTTLS\n:expect ^a OK .*\\r\\n\n:starttls\n",
    ),
    "pop3": Talk(
        "CAPA\n:expect ^\\.\\r\\n\n:cert\nQUIT\n:expect ^\\+OK .*\\r\\n\n",
        ":expect ^\\+OK .*\\r\\n\nSTLS\n:expect ^\\+OK .*\\r\\n\n:starttls\n",
    ),
    "ldap": Talk(
        f"{hexadecimal(DIALOGS['ldap'].ask)}\n:expect \\x61\\x07\\x0a\\x01\\x00\n:cert\n:hex 30 05 02 01 02 42 00\n"
    ),
    "postgres": Talk(
        f"{hexadecimal(DIALOGS['postgres'].ask)}\n:expect Z\\x00\\x00\\x00\\x05I\n:cert\n:hex 58 00000004\n"
    ),
    "nats": Talk(
        'CONNECT {"verbose":false}\nPING\n:expect ^PONG\\r\\n\n:cert\nQUIT\n:expect ^-ERR .*\\r\\n\n',
    ),
    "xmpp": Talk(
        f":send {xmpp_header('client').decode()}\n:expect </stream:features>\n:cert\n"
        ":send </stream:stream>\n:expect </stream:stream>\n"
    ),
}


def options(certs: CertSet, tls: str) -> list[str]:
    return ["--repl", "--tls", tls, "--cacert", str(certs.ca)]


def check_chain(stderr: str) -> None:
    """:cert has shown the daemon's own certificate."""
    assert re.search(r"^cfcat: 0 subject: ", stderr, re.M), stderr
    assert re.search(r"^cfcat: \s+names: .*localhost.*127\.0\.0\.1", stderr, re.M), stderr
    assert re.search(r"^cfcat: \s+sha256: [0-9a-f]{64}$", stderr, re.M), stderr


@pytest.mark.parametrize("name", TALKS)
def test_upgrade_in_one_step(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """:starttls PROTO, then the protocol under TLS, its chain, and the end: status 0."""
    talk = TALKS[name]
    script = f":wait 0.3\n:starttls {name}\n{talk.lines}"
    result = cfcat(*options(certs, "starttls"), f"localhost:{daemon(name).port}", stdin=script.encode())
    assert result.status == 0, result
    assert "cfcat: TLS established: TLSv1.3, " in result.stderr
    check_chain(result.stderr)


@pytest.mark.parametrize("name", [name for name, talk in TALKS.items() if talk.by_hand])
def test_upgrade_typed_by_hand(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """The request typed, its answer expected, :starttls, and after the goodbye all of it again with :open."""
    talk = TALKS[name]
    script = talk.by_hand + talk.lines + ":open\n" + talk.by_hand + talk.lines
    result = cfcat(*options(certs, "starttls"), f"localhost:{daemon(name).port}", stdin=script.encode())
    assert result.status == 0, result
    assert result.stderr.count("cfcat: TLS established: TLSv1.3, ") == 2
    check_chain(result.stderr)


@pytest.mark.parametrize(("name", "last"), [("smtp", "221 "), ("imap", "c OK ")])
def test_script_in_ci(daemon: Fleet, certs: CertSet, name: Name, last: str) -> None:
    """As a shell would run it: 0; with an :expect that fails 1, its line, and the last line seen."""
    talk = TALKS[name]
    command = f"cfcat {shlex.join(options(certs, 'starttls'))} localhost:{daemon(name).port} 2>&1 >/dev/null"
    good = talk.by_hand + talk.lines.replace(":tls\n", "").replace(":cert\n", "")
    result = shell(command, stdin=good.encode())
    assert result.status == 0, result
    assert result.stdout.decode().startswith("cfcat: TLS established: ")
    lines = good.count("\n")
    result = shell(command, stdin=(good + ":expect -t 0.2 never\n").encode())
    assert (result.status, result.stderr) == (1, "")
    text, _ = check_form(result.stdout.decode().splitlines(keepends=True)[-1])
    assert re.match(rf'line {lines + 1}: :expect never: .*; the last line seen is "{last}', text), text


@pytest.mark.parametrize("name", ["smtp", "imap"])
def test_daemon_that_does_not_start_tls(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """Its answer is quoted; nothing is sent in clear text behind it."""
    script = f":wait 0.3\n:starttls {name}\nsecret\n"
    target = f"localhost:{daemon(name, tls='off').port}"
    result = cfcat(*options(certs, "starttls"), target, stdin=script.encode())
    *dialog, last = result.stderr.splitlines(keepends=True)
    assert all(line.startswith(("cfcat: > ", "cfcat: < ")) for line in dialog)
    assert check_form(last)[0].startswith(f"line 2: {target}: the server ")
    assert result.status == 1


def test_certificate_that_is_not_trusted(daemon: Fleet, certs: CertSet) -> None:
    """The line with its reason; status 1: a command has failed."""
    target = f"localhost:{daemon('smtp', cert='expired').port}"
    script = b":wait 0.3\n:starttls smtp\nsecret\n"
    result = cfcat(*options(certs, "starttls"), target, stdin=script)
    assert f"cfcat: line 2: {target}: certificate not trusted: it expired on 2020-01-02\n" in result.stderr
    assert result.status == 1


def test_redis(daemon: Fleet, certs: CertSet) -> None:
    """In clear text and under TLS; redis ends without close_notify."""
    redis = daemon("redis")
    script = b"PING\n:expect ^\\+PONG\\r\\n\nQUIT\n:expect ^\\+OK\\r\\n\n"
    assert cfcat("--repl", f"localhost:{redis.port}", stdin=script) == Result(b"+PONG\r\n+OK\r\n", "", 0)
    secure = [*options(certs, "on"), "--ignore-unexpected-eof", f"localhost:{redis.tls_port}"]
    assert cfcat(*secure, stdin=script) == Result(b"+PONG\r\n+OK\r\n", "", 0)


def test_gopher(daemon: Fleet, certs: CertSet) -> None:
    """An empty line asks for the menu; :open asks for it again, under TLS."""
    gopher = daemon("gopher")
    script = f"\n:expect ^\\.\\r\\n\n:open localhost:{gopher.tls_port} --tls on\n\n:expect ^\\.\\r\\n\n"
    result = cfcat(*options(certs, "starttls"), f"localhost:{gopher.port}", stdin=script.encode())
    assert result.status == 0, result
    assert len(re.findall(rb"^\.\r\n", result.stdout, re.M)) == 2
