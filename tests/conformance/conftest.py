"""Certificates for the scenarios, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.runner import Certificates


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    with Certificates() as made:
        yield made
