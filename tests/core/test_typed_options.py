"""What a type checker says of the keywords of `connect()`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cfcat import SocketOptions
from cfcat.core.options import Changes

SNIPPET = """\
from cfcat import connect

connect("h:1", secure_transport="on", allow_half_open=True, connect_timeout=5)
connect("h:1", secure_transprt="on")
connect("h:1", secure_transport="yes")
"""


def test_every_option_is_a_keyword() -> None:
    """None is forgotten."""
    assert tuple(Changes.__annotations__) == SocketOptions._fields


@pytest.mark.one_python
def test_mypy_refuses_a_misspelt_option_and_a_wrong_value(tmp_path: Path) -> None:
    """Each on its line, and nothing else."""
    program = tmp_path / "program.py"
    program.write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [line.split(":")[1] for line in errors] == ["4", "5"], done.stdout + done.stderr
    assert "secure_transprt" in errors[0]
    assert "secure_transport" in errors[1]
