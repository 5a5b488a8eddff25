"""Programs that not every machine has."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["demand", "do_without"]


def demand(program: str) -> str:
    """Return the path of an installed program, else skip the test; with CFCAT_REQUIRE_SERVERS=1 that is an error."""
    return shutil.which(program) or do_without(program)


def do_without(what: str) -> NoReturn:
    """Skip the test, or fail it, for something that is not installed."""
    missing = f"{what} is not installed"
    if os.environ.get("CFCAT_REQUIRE_SERVERS") == "1":
        pytest.fail(missing)
    pytest.skip(missing)
