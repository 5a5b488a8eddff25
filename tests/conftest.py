"""Fixtures for the whole test run: certificates, and the real daemons."""

from __future__ import annotations

import gc
import inspect
import os
import signal
from collections.abc import Iterator

import pytest

from tests.helpers.aio import run
from tests.helpers.certs import CertSet, make_certs
from tests.servers.fleet import Fleet
from tests.servers.launcher import Daemon


def pytest_configure() -> None:
    """Let children begin with the default signals, even where the run itself was started in the background.

    A shell without job control starts `pytest &` with SIGINT and SIGQUIT ignored, nohup with SIGHUP; a
    child would inherit that, and could not be interrupted.

    They keep bytecode, too, whatever the environment says: thousands of them would compile cfcat anew.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # still without effect here; a handler is not inherited


@pytest.fixture(scope="module", autouse=True)
def small_collections() -> None:
    """Let `gc.collect()` look at what the tests of a file have made, not at all that was made before.

    Each `async def test_…` collects its garbage, which would take a third of a second otherwise.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def test_…` in a fresh event loop that forgives nothing.

    It may take 20 s, or what `@pytest.mark.deadline(SECONDS)` says.
    """
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    deadline = pyfuncitem.get_closest_marker("deadline")
    run(pyfuncitem.obj(**arguments), *(() if deadline is None else deadline.args))
    return True


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> CertSet:
    """A throw-away CA and one certificate of each kind."""
    return make_certs(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def daemon(certs: CertSet) -> Iterator[Fleet]:
    """Every real daemon, by name and variant: `daemon("smtp", cert="expired")`."""
    with Fleet(certs) as fleet:
        yield fleet


@pytest.fixture
def gopher(daemon: Fleet) -> Daemon:
    """gophernicus, plain and under TLS."""
    return daemon("gopher")


@pytest.fixture
def nginx(daemon: Fleet) -> Daemon:
    """nginx, plain and under TLS, with a file of 10 MiB."""
    return daemon("http")
