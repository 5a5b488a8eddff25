"""The table by name: what option, command, completion and documentation are made of."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from cfcat.protocols import PROTOCOLS, Names, Protocol

NAMES = (
    "smtp lmtp pop3 imap ftp nntp sieve xmpp xmpp-server irc ldap postgres mysql telnet rdp mssql amqp nbd vnc".split()
)


def test_protocols_and_their_order() -> None:
    """First those of s_client, then the rest; a name is its own key."""
    assert list(PROTOCOLS) == NAMES
    assert [protocol.name for protocol in PROTOCOLS.values()] == NAMES


def test_default_ports() -> None:
    """IANA's, for the clear text port."""
    ports = [25, 24, 110, 143, 21, 119, 4190, 5222, 5269, 6667, 389, 5432, 3306, 23, 3389, 1433, 5672, 10809, 5900]
    assert [protocol.default_port for protocol in PROTOCOLS.values()] == ports


def test_alpn_ids_are_the_registered_ones() -> None:
    """R8: known, but nothing sends them unasked."""
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


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_rows_are_complete(protocol: Protocol) -> None:
    """A title, a summary on one line, and a specification that the dialog's docstring cites."""
    assert protocol.title
    assert protocol.summary.isprintable()
    assert not protocol.summary.endswith(".")
    assert len(protocol.summary) <= 40
    assert protocol.reference.split(",")[0] in (protocol.dialog.__doc__ or "").replace(
        "MySQL,", "MySQL protocol,"
    ).replace("PostgreSQL,", "PostgreSQL protocol,").replace("`tls`", "tls")


def test_rows_cannot_be_changed() -> None:
    """Values are frozen: neither the table nor a name that has been checked."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROTOCOLS["smtp"].default_port = 26  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Names("a", "b").client_name = "c\r\n"  # type: ignore[misc]


def test_dialogs_are_pure() -> None:
    """Neither loop nor socket nor clock nor TLS is loaded for them."""
    code = (
        "import sys; import cfcat.protocols as s\n"
        "assert len(s.PROTOCOLS) == 19\n"
        "names = {'asyncio', 'socket', 'ssl', 'threading', 'select', 'typer', 'cfcat.core', 'cfcat.report'}\n"
        "assert not names & set(sys.modules), names & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
