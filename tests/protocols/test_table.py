"""The table by name: what option, command, completion and documentation are made of."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from cfcat.protocols import PROFILES, PROTOCOLS, TABLE, DialogRun, Names, Protocol, profile_for
from cfcat.protocols.table import guess, port_of_scheme

pytestmark = pytest.mark.one_python

NAMES = (
    "smtp lmtp pop3 imap ftp nntp sieve xmpp xmpp-server irc ldap postgres mysql telnet rdp mssql amqp nbd vnc nats "
    "http"
).split()
SPOKEN = "smtp lmtp pop3 imap ftp nntp sieve xmpp irc ldap postgres mysql nats http redis gopher memcached none".split()


def test_protocols_and_their_order() -> None:
    """First those of s_client, then the rest; a name is its own key."""
    assert list(PROTOCOLS) == NAMES
    assert [protocol.name for protocol in PROTOCOLS.values()] == NAMES


def test_default_ports() -> None:
    """IANA's, for the clear text port."""
    ports = "25 24 110 143 21 119 4190 5222 5269 6667 389 5432 3306 23 3389 1433 5672 10809 5900 4222 80"
    assert [protocol.port for protocol in PROTOCOLS.values()] == [int(port) for port in ports.split()]


def test_a_scheme_is_a_protocol_in_clear_text_or_with_an_s_under_tls() -> None:
    """Where TLS has no port of its own, or no row has the name, nobody knows."""
    assert [port_of_scheme(name) for name in ("imap", "imaps", "https", "wss")] == [
        (143, False),
        (993, True),
        (443, True),
        (443, True),
    ]
    assert [port_of_scheme(name) for name in ("redis", "rediss", "x", "s", "")] == [(6379, False), *[None] * 4]


def test_alpn_ids_are_the_registered_ones() -> None:
    """SEC-R8: known, but nothing sends them unasked."""
    assert {name: protocol.alpn for name, protocol in PROTOCOLS.items() if protocol.alpn} == {
        "pop3": "pop3",
        "imap": "imap",
        "ftp": "ftp",
        "nntp": "nntp",
        "sieve": "managesieve",
        "xmpp": "xmpp-client",
        "xmpp-server": "xmpp-server",
        "irc": "irc",
        "postgres": "postgresql",
    }


def test_names_are_different() -> None:
    """A name is a protocol's own, whether it has a dialog, verbs or both; every row can be reached by one of them."""
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    assert {*PROTOCOLS, *PROFILES} == {*names, "none"}


@pytest.mark.parametrize("protocol", TABLE, ids=lambda protocol: protocol.name)
def test_rows_are_complete(protocol: Protocol) -> None:
    """A title, and a specification, which the dialog's docstring cites."""
    assert protocol.title
    assert protocol.reference
    if protocol.client is not None:
        assert protocol.reference.split(",")[0] in (protocol.client.__doc__ or "").replace(
            "MySQL,", "MySQL protocol,"
        ).replace("PostgreSQL,", "PostgreSQL protocol,").replace("`tls`", "tls")


def test_a_protocol_without_a_dialog_is_not_asked_for_one() -> None:
    """Neither option nor command takes its name; the library says so of a row that is handed over."""
    (redis,) = (row for row in TABLE if row.name == "redis")
    assert redis.name not in PROTOCOLS
    with pytest.raises(ValueError, match="Redis has no upgrade to TLS"):
        DialogRun(redis, Names("a", "b"))


def test_rows_cannot_be_changed() -> None:
    """Values are frozen: neither the table nor a name that has been checked."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROTOCOLS["smtp"].port = 26  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Names("a", "b").client_name = "c\r\n"  # type: ignore[misc]


def test_dialogs_are_pure() -> None:
    """Neither loop nor socket nor clock nor TLS is loaded for them."""
    code = (
        "import sys; import cfcat.protocols as s\n"
        "assert len(s.PROTOCOLS) == 21\n"
        "names = {'asyncio', 'socket', 'ssl', 'threading', 'select', 'typer', 'cfcat.core.sockets', 'cfcat.report'}\n"
        "assert not names & set(sys.modules), names & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_profiles_are_the_names_of_proto() -> None:
    """In this order, and those without verbs are the protocols of bytes."""
    assert list(PROFILES) == SPOKEN
    assert {name for name, verbs in PROFILES.items() if not verbs} == {"gopher", "ldap", "postgres", "mysql", "none"}


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("smtp", (25, 465, 587)),
        ("lmtp", (24,)),
        ("imap", (143, 993)),
        ("pop3", (110, 995)),
        ("ftp", (21, 990)),
        ("nntp", (119, 563)),
        ("sieve", (4190,)),
        ("irc", (6667, 6697)),
        ("redis", (6379,)),
        ("http", (80, 443, 8080)),
        ("gopher", (70,)),
        ("memcached", (11211,)),
        ("ldap", (389, 636)),
        ("postgres", (5432,)),
        ("mysql", (3306,)),
        ("nats", (4222,)),
        ("xmpp", (5222, 5223, 5269)),
        (None, (0, 1, 22, 65535)),
    ],
)
def test_ports(name: str | None, ports: tuple[int, ...]) -> None:
    """IANA's, for clear text and for TLS, and what is usual besides."""
    assert {profile_for(port) for port in ports} == {name}


def test_ports_of_the_dialogs_lead_to_their_profile() -> None:
    """A protocol that has both a dialog and verbs has one port."""
    for name, protocol in PROTOCOLS.items():
        if name in PROFILES:
            assert profile_for(protocol.port) == name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (b"220 mail.example ESMTP", "smtp"),
        (b"220-mail.example\r\n220 no ftp", "smtp"),
        (b"220 (vsFTPd 3.0.3)", "ftp"),
        (b"220-Welcome to Pure-FTPd", "ftp"),
        (b"120 ready in 2 minutes", "ftp"),
        (b"1200 ready", None),
        (b"+OK ready", "pop3"),
        (b"* OK ready", "imap"),
        (b"200 news.example", "nntp"),
        (b"201 news.example", "nntp"),
        (b'INFO {"tls_required":true}', "nats"),
        (b'"IMPLEMENTATION" "Dovecot Pigeonhole"', "sieve"),
        (b":irc.example NOTICE * :*** Looking up your hostname", "irc"),
        (b"NOTICE AUTH :*** Looking up your hostname", "irc"),
        (b"J\0\0\0\n8.0.36\0", "mysql"),
        (b"Y\0\0\0\n5.5.5-10.11.6-MariaDB\0", "mysql"),
        (b"\xff\xfd\x18\xff\xfd\x20", "telnet"),
        (b"AMQP\0\1\0\0", "amqp"),
        (b"NBDMAGICIHAVEOPT", "nbd"),
        (b"RFB 003.008\n", "vnc"),
        (b"120 in a moment", "ftp"),
        (b"AMQPX", None),
        (b"NOTICES", None),
        (b"INFO something", None),
        (b"+ok ready", None),
        (b"2200 x", None),
        (b"202 x", None),
        (b"SSH-2.0-x", None),
        (b"", None),
    ],
)
def test_greeting(said: bytes, name: str | None) -> None:
    """What a server says first in clear text tells which dialog it would take, or does not."""
    assert guess(said) == name


@pytest.mark.parametrize(
    ("said", "port", "name"),
    [
        (b"220 files.example ready", 21, "ftp"),
        (b"220 files.example ready", 990, "ftp"),
        (b"220 files.example ready", 24, "lmtp"),
        (b"220 files.example ready", 587, "smtp"),
        (b"220 files.example ready", 7777, "smtp"),
        (b"220 ProFTPD", 25, "ftp"),
        (b"+OK", 143, "pop3"),
    ],
)
def test_greeting_that_more_than_one_has(said: bytes, port: int, name: str) -> None:
    """The port decides, but never for a protocol that does not greet so."""
    assert guess(said, port) == name
