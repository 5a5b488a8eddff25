"""The helper that asks for programs."""

from __future__ import annotations

import os

import pytest

from tests.helpers.installed import demand


def test_path_of_a_program() -> None:
    """What is there is found."""
    assert os.access(demand("sh"), os.X_OK)


def test_missing_program_is_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason."""
    monkeypatch.delenv("CFCAT_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        demand("no-such-program")


def test_missing_program_is_an_error_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is to be installed, nothing is passed over."""
    monkeypatch.setenv("CFCAT_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        demand("no-such-program")
