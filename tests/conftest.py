"""Fixtures for the whole test run: certificates, and the real daemons."""

from __future__ import annotations

import pytest

from tests.helpers.certs import CertSet, make_certs


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> CertSet:
    """A throw-away CA and one certificate of each kind."""
    return make_certs(tmp_path_factory.mktemp("certs"))
