"""Options of nc, ncat, socat, s_client and telnet, typed here: status 2, and what to type instead."""

from __future__ import annotations

import re

import pytest
import typer

from cfcat.program.cli import app
from cfcat.program.habits import HABITS, OTHERS_PROXY, SOCAT, habit_among, habit_of_words
from tests.program.command import Command

pytestmark = pytest.mark.one_python

PARAMETERS = typer.main.get_command(app).params
OPTIONS = {name for each in PARAMETERS for name in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("option", HABITS)
def test_a_habit_is_no_option_and_its_hint_names_only_what_there_is(option: str) -> None:
    """An option that cfcat gets one day has to leave the table, and a hint must not lead to the next error."""
    assert option not in OPTIONS
    named = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", HABITS[option]))
    assert named <= OPTIONS | {"-vv", "-h", "--help"}


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-N", "127.0.0.1:9"], "-N"),
        (["-u", "127.0.0.1", "53"], "-u"),
        (["-d", "127.0.0.1", "9"], "-d"),
        (["-e", "/bin/sh", "127.0.0.1", "9"], "-e"),
        (["-vN", "127.0.0.1", "9"], "-N"),
        (["--ssl", "127.0.0.1", "9"], "--ssl"),
        (["--ssl-verify", "127.0.0.1", "9"], "--ssl-verify"),
        (["--ssl-trustfile=ca.pem", "127.0.0.1", "9"], "--ssl-trustfile"),
        (["-connect", "127.0.0.1:9"], "-connect"),
        (["-CAfile", "ca.pem", "127.0.0.1:9"], "-CAfile"),
        (["127.0.0.1:9", "-servername", "h"], "-servername"),
        (["-quiet", "127.0.0.1:9"], "-quiet"),
        (["-tls1_2", "127.0.0.1:9"], "-tls1_2"),
        (["-nlvp", "9"], "-n"),
        (["-l", "-p", "9"], "-p"),
        (["-U", "/tmp/s"], "-U"),
        (["-X", "5", "-x", "127.0.0.1:9", "127.0.0.1", "9"], "-X"),
        (["--telnet", "127.0.0.1", "9"], "--telnet"),
        (["-version"], "-version"),
    ],
)
def test_the_cfcat_way_is_the_hint(command: Command, arguments: list[str], name: str) -> None:
    """Also where the parser reads the word as several options of a letter, or as the value of one."""
    command.check_refused(arguments, f"no such option: {name}", HABITS[name])


@pytest.mark.parametrize(
    ("arguments", "text", "hint"),
    [
        (["127.0.0.1", "22", "80"], "more than a host and a port: '80'", "one port a run: a shell loop tries several"),
        (
            ["telnet", "127.0.0.1", "9"],
            "more than a host and a port: '9'",
            "cfcat HOST PORT, without the name of a program",
        ),
        (["-x", "127.0.0.1:9", "127.0.0.1", "9"], "more than a host and a port: '9'", OTHERS_PROXY),
        (
            ["-", "TCP:127.0.0.1:9"],
            "'- TCP:127.0.0.1:9': expected host:port, not an address of socat",
            "cfcat 127.0.0.1:9",
        ),
        (["TCP4:127.0.0.1:9"], "'TCP4:127.0.0.1:9': expected host:port, not an address of socat", "cfcat 127.0.0.1:9"),
        (
            ["STDIO", "OPENSSL:127.0.0.1:9,verify=0"],
            "'STDIO OPENSSL:127.0.0.1:9,verify=0': expected host:port, not an address of socat",
            "cfcat --tls on 127.0.0.1:9",
        ),
        (
            ["TCP-LISTEN:8080,fork", "EXEC:/bin/sh"],
            "'TCP-LISTEN:8080,fork EXEC:/bin/sh': expected host:port, not an address of socat",
            "cfcat -l 8080",
        ),
        (["UNIX:/tmp/s"], "'UNIX:/tmp/s': expected host:port, not an address of socat", "cfcat unix:/tmp/s"),
        (["-lk", "9"], "-l excludes -k: --keep takes the next client, and --client-ca FILE verifies clients", ""),
    ],
)
def test_words_of_others_are_answered_with_the_cfcat_way(
    command: Command, arguments: list[str], text: str, hint: str
) -> None:
    """Several ports, the name of the other program, its proxy, its addresses."""
    command.check_refused(arguments, text, hint)


@pytest.mark.parametrize("kind", SOCAT)
def test_each_address_of_socat_has_a_hint_with_options_that_there_are(kind: str) -> None:
    """The hint names options that exist; a host that is called like a kind of address gets no hint."""
    hint = habit_of_words([f"{kind}:a:1"])
    assert hint is not None
    assert set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", hint)) <= OPTIONS
    assert habit_of_words([kind, f"{kind}.example:1", f"{kind}://a.example", "unix:s"]) is None


def test_a_slip_is_no_habit() -> None:
    """The parser's own guess stays."""
    assert habit_among(["--recv-onyl", "h:1"], "--recv-onyl") is None
    assert habit_among(["-Z", "h:1"], "-Z") is None
