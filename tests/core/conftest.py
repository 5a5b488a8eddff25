"""The kinds of connection that every stream must behave alike on."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.links import Kind, Link


@pytest.fixture(params=get_args(Kind))
def link(request: pytest.FixtureRequest, certs: CertSet) -> Link:
    """Clear text, TLS 1.2, TLS 1.3, and the two just upgraded: one contract for all of them."""
    return Link(request.param, certs)


@pytest.fixture
def plain(certs: CertSet) -> Link:
    """Clear text, for what TLS has no part in."""
    return Link("plain", certs)
