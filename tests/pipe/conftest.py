"""Fixtures for the tests of pipe mode."""

from __future__ import annotations

import ssl

import pytest

from tests.helpers.certs import CertSet
from tests.pipe.tools import Transport

VERSIONS = {"plain": None, "tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(params=VERSIONS)
def transport(request: pytest.FixtureRequest, certs: CertSet) -> Transport:
    """Every kind of connection: a test that takes it runs once for each."""
    return Transport(request.param, VERSIONS[request.param], certs)


@pytest.fixture(params=["plain", "tls1.3"])
def either(request: pytest.FixtureRequest, certs: CertSet) -> Transport:
    """Clear text and TLS, where the version of TLS can make no difference."""
    return Transport(request.param, VERSIONS[request.param], certs)


@pytest.fixture(params=["tls1.2", "tls1.3"])
def tls(request: pytest.FixtureRequest, certs: CertSet) -> Transport:
    """Every kind of TLS connection."""
    return Transport(request.param, VERSIONS[request.param], certs)


@pytest.fixture
def plain(certs: CertSet) -> Transport:
    """Clear text only."""
    return Transport("plain", None, certs)
