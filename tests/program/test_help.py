"""What --help shows, and to whom. That it names everything there is, `tests/test_documented.py` sees to."""

from __future__ import annotations

import os

import pytest
from typer.main import get_command

from cfcat.program.cli import app
from cfcat.program.help import MOST_WANTED
from tests.helpers.program import cfcat, finish, start

LINES = 60  # two screens, nearly


def test_help_has_what_most_want_on_two_screens() -> None:
    """On stdout, for a terminal of 80 columns; it says where the rest is."""
    result = cfcat("-h")
    assert (result.stderr, result.status) == ("", 0)
    assert cfcat("--help") == cfcat("-h", "nonsense") == result
    text = result.stdout.decode()
    assert text.startswith("Usage: cfcat [OPTIONS] ")
    assert "--help all" in text
    assert "man cfcat" in text
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_each_option_that_most_want_is_one() -> None:
    """The short help is made of the same definition: no option in it is made up."""
    options = {parameter.name for parameter in get_command(app).params} | {"help"}
    assert options >= MOST_WANTED.keys()


def test_help_all_has_every_option() -> None:
    """With its whole text; and the statuses and the environment."""
    result = cfcat("--help", "all")
    assert (result.stderr, result.status) == ("", 0)
    assert cfcat("-h", "all") == result
    text = result.stdout.decode()
    for option in ("--half-open", "-4", "-6", "--connect-timeout", "-w, --idle-timeout", "--no-shutdown", "--raw"):
        assert option in text
    for option in ("-q, --quit-after", "--tls", "--sni", "--cacert", "-k, --insecure", "-V, --version", "-h, --help"):
        assert option in text
    assert "Exit status:" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("option", ["-h", "-V"])
def test_reader_of_help_leaves(option: str) -> None:
    """`cfcat -h | head -1` ends as any other program does: silently, by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    with start(option, stdout=write) as program:
        os.close(write)
        program.wait(10)
        result = finish(program)
    assert (result.status, result.stderr) == (-13, "")
