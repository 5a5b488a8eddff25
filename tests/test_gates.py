"""The gates of the project, so that one command, pytest, runs everything that CI does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

PROJECT = Path(__file__).parents[1]


@pytest.mark.timeout(300)  # mypy without its cache reads every dependency
@pytest.mark.parametrize(
    "gate", [["ruff", "format", "--check", "cfcat", "tests"], ["ruff", "check", "."], ["mypy"]], ids=" ".join
)
def test_gate(gate: list[str]) -> None:
    """What the tool finds is the failure's message; its configuration is in pyproject.toml."""
    command = [sys.executable, "-m", *gate]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=290)
    assert run.returncode == 0, f"{' '.join(gate)}\n{run.stdout}{run.stderr}"
