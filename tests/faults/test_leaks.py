"""Row 57 of the fault matrix, in a size for every day: `python -m tests.faults.leaks --full` does it ten times over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import leaks
from tests.helpers.aio import uncollected
from tests.helpers.certs import CertSet

CONNECTIONS = 2_000
RUNS = 200
UNCOLLECTED = 1_000
PROCESSES = 10


@pytest.fixture(scope="module")
def servers(certs: CertSet) -> Iterator[leaks.Servers]:
    """Echo servers in another process."""
    with leaks.serving(certs) as running:
        yield running


def test_row_57_short_connections_leave_nothing_behind(servers: leaks.Servers, certs: CertSet) -> None:
    """One after the other, in clear text, under TLS and upgraded; refused, dropped and cancelled too."""
    leaks.check(leaks.growth_of(leaks.connections(servers, certs), CONNECTIONS))


@pytest.mark.one_python
@pytest.mark.parametrize("kind", ["connect", "tls", "upgrade", "cancel", "drop"])
def test_row_57_a_socket_is_freed_by_its_last_user(servers: leaks.Servers, certs: CertSet, kind: leaks.Kind) -> None:
    """It is in no circle once it has ended: without the collector of cycles, memory is flat all the same."""
    with uncollected():
        leaks.check(leaks.growth_of(leaks.connections(servers, certs, kind), UNCOLLECTED))


@pytest.mark.timeout(180)  # it is long: a leak shows only over many runs
def test_row_57_short_runs_leave_nothing_behind(servers: leaks.Servers, certs: CertSet) -> None:
    """The command line, again and again in one process: in pipe mode, under TLS, refused, and with a script."""
    leaks.check(leaks.growth_of(leaks.runs_in_this_process(servers, certs), RUNS))


def test_row_57_short_processes_leave_no_file_behind(servers: leaks.Servers) -> None:
    """Nothing else of a process outlives it."""
    assert leaks.programs(servers, PROCESSES) == []
