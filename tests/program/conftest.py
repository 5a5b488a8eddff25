"""The kinds of connection, for the tests of the command line too; and command lines without a process."""

from __future__ import annotations

import pytest

from tests.pipe.conftest import either, plain, tls
from tests.program.command import Command

__all__ = ["command", "either", "plain", "tls"]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line, without a process of its own."""
    return Command(capfd)
