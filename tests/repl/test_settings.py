"""What `:set` changes: one field each, and everything else made of it."""

from __future__ import annotations

import dataclasses

import pytest

from cfcat.errors import CommandError
from cfcat.repl.settings import SETTINGS, Settings
from tests.repl.conftest import Recorder, session_for
from tests.test_layers import run_python

# The program with one more field in `Settings`, and everywhere where a setting can be seen.
MADE_UP = """
import asyncio, importlib.util, pathlib, sys
spec = importlib.util.find_spec("cfcat.repl.settings")
field = '    workers: str = _one_of("off", "on")\\n'
source = pathlib.Path(spec.origin).read_text()
assert source.count(field) == 1
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
exec(source.replace(field, field + '    made_up: str = _one_of("red", "green")\\n'), vars(module))

from cfcat.core.options import SocketOptions
from cfcat.repl.arguments import parse_set
from cfcat.repl.commands import help_lines
from cfcat.repl.screen.completion import candidates
from cfcat.repl.session import Session

class Face:
    def __getattr__(self, name):
        return lambda *values: print(*values)

async def main():
    print(parse_set("made-up green"))
    print([line for line in help_lines("set") if "made-up" in line])
    print(candidates(":set ma", None, ""), candidates(":set made-up g", None, ""))
    session = Session("h:1", SocketOptions(), Face(), module.Settings())
    await session.execute(":set made-up green")
    print(session.settings.made_up)
    await session.execute(":set")

asyncio.run(main())
"""
SEEN = """
Change(name='made-up', value='green')
['  made-up        red, green']
[':set made-up'] [':set made-up green']

green
view text
eol crlf
proto auto
clear-secrets off
workers off
made-up green
expand off
encoding utf-8
"""


def test_a_new_setting_is_one_field() -> None:
    """Parser, help, completion, session and list have it, by nothing but a line in `Settings`."""
    assert run_python("-c", MADE_UP).stdout.decode().strip() == SEEN.strip()


@pytest.mark.parametrize("name", SETTINGS)
async def test_set_changes_its_field(name: str) -> None:
    """Each value of each name, as typed; no other setting changes."""
    face = Recorder()
    session = session_for("h:25", face)
    for value in SETTINGS[name]:
        await session.execute(f":set {name} {value}")
        assert f"{name} {value}" in session.settings.lines()
        others = [line for line in session.settings.lines() if not line.startswith(f"{name} ")]
        assert others == [line for line in Settings().lines() if not line.startswith(f"{name} ")]
    with pytest.raises(CommandError, match="does not know"):
        await session.execute(f":set {name} xyzzy")


async def test_view_and_eol_are_short_for_set() -> None:
    """`:view hex` is `:set view hex`."""
    session = session_for("h:25", Recorder())
    await session.execute(":view hex")
    await session.execute(":lf")
    assert session.settings == Settings(view="hex", eol="lf")


def test_begin_with_the_first_value() -> None:
    """The one that stands first in the list of a setting."""
    assert Settings().lines() == [f"{name} {values[0]}" for name, values in SETTINGS.items()]


def test_settings_stay_as_they_were_asked_for() -> None:
    """A session changes its own: the request that it began with is as it was."""
    asked = Settings()
    assert asked.changed("clear-secrets", "on") == Settings(clear_secrets="on")
    assert asked == Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        asked.view = "hex"  # type: ignore[misc]
