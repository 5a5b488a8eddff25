"""Options of nc, ncat, socat, s_client and telnet, typed here: status 2, and what to type instead."""

from __future__ import annotations

import re

import pytest
import typer

from cfcat.program.cli import app
from cfcat.program.habits import HABITS, habit_among
from tests.program.command import Command

pytestmark = pytest.mark.one_python

PARAMETERS = typer.main.get_command(app).params
OPTIONS = {name for each in PARAMETERS for name in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("option", HABITS)
def test_a_habit_is_no_option_and_its_hint_names_only_what_there_is(option: str) -> None:
    """An option that cfcat gets one day has to leave the table, and a hint must not lead to the next error."""
    assert option not in OPTIONS
    named = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", HABITS[option]))
    assert named <= OPTIONS | {"-vv"}


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
    ],
)
def test_the_cfcat_way_is_the_hint(command: Command, arguments: list[str], name: str) -> None:
    """Also where the parser reads the word as several options of a letter, or as the value of one."""
    command.check_refused(arguments, f"no such option: {name}", HABITS[name])


def test_a_slip_is_no_habit() -> None:
    """The parser's own guess stays."""
    assert habit_among(["--recv-onyl", "h:1"], "--recv-onyl") is None
    assert habit_among(["-Z", "h:1"], "-Z") is None
