"""The kinds of connection, for every row of the fault matrix that is about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.ways import WAYS, Accepting, make_accepting_way, make_way
from tests.helpers.certs import CertSet
from tests.helpers.program import forks
from tests.pipe.tools import Transport

ABOUT_THE_PROCESS = {
    *("test_process_limits", "test_process_signals", "test_process_stdio", "test_process_terminal"),
    *("test_leaks", "test_surroundings", "test_tapped_process", "test_torture"),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, certs: CertSet) -> Transport:
    """Every kind of connection: a test that takes it runs once for each."""
    return make_way(request.param, certs)


@pytest.fixture(params=WAYS[1:])
def tls_way(request: pytest.FixtureRequest, certs: CertSet) -> Transport:
    """Every kind that ends up under TLS."""
    return make_way(request.param, certs)


@pytest.fixture
def plain(certs: CertSet) -> Transport:
    """Clear text only."""
    return make_way("plain", certs)


@pytest.fixture(params=WAYS)
def accepting(request: pytest.FixtureRequest, certs: CertSet) -> Accepting:
    """Every kind of connection that comes in."""
    return make_accepting_way(request.param, certs)


@pytest.fixture(params=WAYS[1:])
def accepting_tls(request: pytest.FixtureRequest, certs: CertSet) -> Accepting:
    """Every kind of it under TLS."""
    return make_accepting_way(request.param, certs)


@pytest.fixture
def plain_way(certs: CertSet) -> Accepting:
    """Clear text only."""
    return make_accepting_way("plain", certs)


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regular file for standard input: a megabyte of a secret."""
    path = tmp_path_factory.mktemp("stdin") / "ready"
    path.write_bytes(b"secret\r\n" * (1 << 17))
    return path


@pytest.fixture(autouse=True)
def forks_of_one(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let runs be forks, except where the process itself is what the file is about, or what surrounds it."""
    if request.path.stem in ABOUT_THE_PROCESS:
        yield
    else:
        with forks():
            yield
