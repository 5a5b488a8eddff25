"""`cfcat -l` with the clients that people have: netcats, curl, s_client, gnutls-cli, swaks, and those of databases."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cfcat.protocols import PROTOCOLS
from tests.helpers.certs import CertSet
from tests.helpers.installed import demand
from tests.helpers.program import Argument, Program, Result, cfcat, finish
from tests.program.test_listen import listening

pytestmark = pytest.mark.one_python

DEADLINE_S = 20
# What s_client can upgrade, by its name where that is not ours.
S_CLIENT = {
    **{name: name for name in ("smtp", "lmtp", "pop3", "imap", "ftp", "xmpp", "xmpp-server", "telnet", "irc", "ldap")},
    **{"nntp": "nntp", "sieve": "sieve", "mysql": "mysql", "postgres": "postgres"},
}
GNUTLS = ("smtp", "imap", "pop3", "ldap", "xmpp", "ftp", "sieve", "lmtp", "nntp", "postgres")


def own(certs: CertSet) -> list[Argument]:
    return ["--cert", certs["good"].chain, "--key", certs["good"].key]


@contextlib.contextmanager
def client(command: Sequence[Argument]) -> Iterator[subprocess.Popen[bytes]]:
    demand(str(command[0]))
    with subprocess.Popen(
        [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        killer = threading.Timer(DEADLINE_S, running.kill)
        killer.start()
        try:
            yield running
        finally:
            killer.cancel()
            running.kill()


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


def talk(program: Program, turns: Sequence[tuple[bytes, bytes]]) -> None:
    """Say each answer when what it answers has come."""
    for asked, answer in turns:
        program.read_until(asked)
        program.say(answer)


@pytest.mark.parametrize(
    "command",
    [
        ["nc", "-N", "127.0.0.1", "{port}"],
        ["ncat", "127.0.0.1", "{port}"],
        ["socat", "-t5", "STDIO", "TCP:127.0.0.1:{port}"],
    ],
    ids=lambda command: command[0],
)
def test_netcats_get_the_whole_answer_behind_their_end(command: list[str]) -> None:
    """They end their side after the request; the answer comes later."""
    with listening() as (program, address):
        with client([word.format(port=port_of(address)) for word in command]) as other:
            assert other.stdin is not None
            other.stdin.write(b"request\n")
            other.stdin.close()
            assert program.read_until(b"request\n") == b"request\n"
            result = finish(program, b"answer\n")
            assert other.stdout is not None
            assert other.stdout.read() == b"answer\n"
            assert other.wait(DEADLINE_S) == 0
    assert result.status == 0


# What a client says under TLS to send a mail, and the answers.
MAIL = (
    (b"EHLO", b"250 mail.example\r\n"),
    (b"MAIL FROM:", b"250 OK\r\n"),
    (b"RCPT TO:", b"250 OK\r\n"),
    (b"DATA\r\n", b"354 go on\r\n"),
    (b"\r\n.\r\n", b"250 queued\r\n"),
    (b"QUIT\r\n", b"221 bye\r\n"),
)
CURL = (
    (
        "smtp",
        ["--mail-from", "me@me.example", "--mail-rcpt", "you@mail.example", "--upload-file", "{file}"],
        MAIL,
    ),
    (
        "imap",
        ["--user", "me:secret"],
        (
            (b"A003 CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nA003 OK done\r\n"),
            (b"A004 AUTHENTICATE PLAIN", b"A004 OK done\r\n"),
            (b"A005 LIST", b'* LIST () "/" INBOX\r\nA005 OK done\r\n'),
            (b"A006 LOGOUT", b"* BYE\r\nA006 OK done\r\n"),
        ),
    ),
    (
        "pop3",
        ["--user", "me:secret"],
        (
            (b"CAPA", b"+OK\r\nUSER\r\n.\r\n"),
            (b"USER", b"+OK\r\n"),
            (b"PASS", b"+OK\r\n"),
            (b"LIST", b"+OK\r\n1 42\r\n.\r\n"),
            (b"QUIT", b"+OK\r\n"),
        ),
    ),
)


@pytest.mark.parametrize(("protocol", "flags", "turns"), CURL, ids=[row[0] for row in CURL])
def test_curl_upgrades_and_is_served(
    protocol: str, flags: list[str], turns: tuple[tuple[bytes, bytes], ...], certs: CertSet, tmp_path: Path
) -> None:
    """--ssl-reqd: it asks for capabilities, upgrades, and goes on under TLS with answers from stdin."""
    mail = tmp_path / "mail"
    mail.write_text("Subject: by hand\n\nHello.\n")
    with listening("--starttls", protocol, *own(certs), "--no-half-open") as (program, address):
        url = f"{protocol}://localhost:{port_of(address)}"
        words = [flag.format(file=mail) for flag in flags]
        with client(["curl", "-sS", "--ssl-reqd", "--cacert", certs.ca, *words, url]) as other:
            talk(program, turns)
            assert other.stdout is not None
            output = other.stdout.read()
            assert other.wait(DEADLINE_S) == 0, output.decode()
        finish(program)


def test_curl_upgrades_ftp(certs: CertSet) -> None:
    """AUTH SSL first, which counts as AUTH TLS; then it logs in under TLS, and is refused."""
    with listening("--starttls", "ftp", *own(certs), "--no-half-open") as (program, address):
        url = f"ftp://localhost:{port_of(address)}/"
        with client(["curl", "-sS", "--ssl-reqd", "--cacert", certs.ca, "--user", "me:secret", url]) as other:
            talk(program, ((b"USER me\r\n", b"530 not you\r\n"),))
            assert other.wait(DEADLINE_S) == 67  # CURLE_LOGIN_DENIED
        finish(program)


@pytest.mark.parametrize("protocol", sorted(S_CLIENT))
def test_s_client_upgrades_by_each_of_its_dialogs(protocol: str, certs: CertSet) -> None:
    """Up to TLS, verified; then a line each way."""
    with listening("--starttls", protocol, *own(certs), "--no-half-open") as (program, address):
        command: list[Argument] = ["openssl", "s_client", "-connect", address, "-starttls", S_CLIENT[protocol]]
        trust: list[Argument] = ["-CAfile", certs.ca, "-verify_return_error", "-quiet", "-xmpphost", "localhost"]
        words: list[Argument] = [*command, *(trust if protocol.startswith("xmpp") else trust[:-2])]
        with client(words) as other:
            assert other.stdin is not None
            other.stdin.write(b"hello\n")
            other.stdin.flush()
            assert program.read_until(b"hello\n") == b"hello\n"
            program.say(b"answer under TLS\n")
            assert other.stdout is not None
            seen = b""
            while b"answer under TLS" not in seen:
                line = other.stdout.readline()
                assert line, seen
                seen += line
            other.stdin.close()
        finish(program)


@pytest.mark.parametrize("protocol", GNUTLS)
def test_gnutls_cli_upgrades(protocol: str, certs: CertSet) -> None:
    """Its own dialogs, of which some differ from those of OpenSSL."""
    with listening("--starttls", protocol, *own(certs), "--no-half-open") as (program, address):
        command: list[Argument] = [
            "gnutls-cli",
            "--starttls-proto",
            protocol,
            "--x509cafile",
            certs.ca,
            "--port",
            port_of(address),
        ]
        with client([*command, "localhost"]) as other:
            assert other.stdin is not None
            other.stdin.write(b"hello\n")
            other.stdin.flush()
            assert program.read_until(b"hello\n").endswith(b"hello\n")
            other.stdin.close()
        finish(program)


def test_psql_comes_to_its_startup_under_tls(certs: CertSet) -> None:
    """`sslmode=require`: SSLRequest, TLS, and the start of its protocol as data."""
    with listening("--starttls", "postgres", *own(certs), "--no-half-open") as (program, address):
        target = f"host=127.0.0.1 port={port_of(address)} user=me dbname=mine sslmode=require"
        with client(["psql", target, "-c", "select 1"]) as other:
            assert b"user\0me\0database\0mine\0" in program.read_until(b"\0mine\0")
            error = b"SFATAL\0C28000\0Mgo away\0\0"
            program.say(b"E" + (len(error) + 4).to_bytes(4, "big") + error)
            assert other.stdout is not None
            assert b"go away" in other.stdout.read()
        finish(program)


def test_psql_without_tls_is_refused_in_its_own_words(certs: CertSet) -> None:
    """`sslmode=disable`: it prints what the server's half says."""
    with listening("--starttls", "postgres", *own(certs)) as (program, address):
        target = f"host=127.0.0.1 port={port_of(address)} user=me dbname=mine sslmode=disable"
        with client(["psql", target, "-c", "select 1"]) as other:
            assert other.stdout is not None
            assert b"begin TLS first (sslmode=require)" in other.stdout.read()
        result = finish(program)
    assert result.status == 64
    assert "the client left without asking for TLS (StartupMessage)" in result.stderr


def test_mariadb_logs_in_under_tls(certs: CertSet) -> None:
    """Its hello comes right behind SSLRequest; what follows under TLS has the user's name."""
    with listening("--starttls", "mysql", *own(certs), "--no-half-open") as (program, address):
        flags = ["--ssl", f"--ssl-ca={certs.ca}", "--protocol=tcp", "--host=127.0.0.1", f"--port={port_of(address)}"]
        with client(["mariadb", "--no-defaults", *flags, "--user=somebody", "--password=x", "-e", "select 1"]) as other:
            assert b"somebody\0" in program.read_until(b"somebody\0")
            error = b"\xff\x15\x04#28000not somebody"
            program.say(len(error).to_bytes(3, "little") + b"\3" + error)
            assert other.stdout is not None
            assert b"not somebody" in other.stdout.read()
        finish(program)


def test_ldapsearch_binds_under_tls(certs: CertSet) -> None:
    """-ZZ: StartTLS or nothing; then its bind comes as data."""
    environment = {"LDAPTLS_CACERT": str(certs.ca), "LDAPTLS_REQCERT": "demand"}
    with listening("--starttls", "ldap", *own(certs), "--no-half-open") as (program, address):
        words = [f"{name}={value}" for name, value in environment.items()]
        url = f"ldap://{address}"  # for localhost it would expect the name of this host
        with client(["env", *words, "ldapsearch", "-ZZ", "-x", "-H", url, "-D", "cn=me", "-w", "secret"]) as other:
            assert b"cn=me" in program.read_until(b"secret")
            program.say(bytes.fromhex("300c 020102 6107 0a0131 0400 0400"))
            assert other.stdout is not None
            assert b"Invalid credentials" in other.stdout.read()
        finish(program)


def test_swaks_sends_a_mail(certs: CertSet) -> None:
    """--tls: it insists on STARTTLS, and hears the answers."""
    with listening("--starttls", "smtp", *own(certs), "--no-half-open") as (program, address):
        flags = ["--tls", "--to", "you@mail.example", "--from", "me@me.example", "--ehlo", "me.example"]
        with client(["swaks", "--server", address, *flags]) as other:
            talk(program, MAIL)
            assert other.stdout is not None
            output = other.stdout.read()
            assert other.wait(DEADLINE_S) == 0, output.decode()
        finish(program)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_cfcat_with_itself(protocol: str, certs: CertSet) -> None:
    """`-l --starttls PROTO` against `--starttls PROTO`: all there are."""
    results: list[Result] = []
    with listening("--starttls", protocol, *own(certs)) as (program, address):
        flags = ("--starttls", protocol, "--cacert", certs.ca, "--sni", "localhost", address)
        dialing = threading.Thread(target=lambda: results.append(cfcat(*flags, stdin=b"question\n")))
        dialing.start()
        assert program.read_until(b"question\n") == b"question\n"
        result = finish(program, b"answer\n")
        dialing.join()
    assert (result.status, results[0].status, results[0].stdout) == (0, 0, b"answer\n")
    assert re.fullmatch(r"cfcat: listening on \S+\n", result.stderr)
