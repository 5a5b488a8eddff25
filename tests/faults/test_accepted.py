"""The fault matrix for connections that come in: the rows that are about a connection, over each kind of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import test_ends, test_ends_flow, test_tls_records
from tests.faults.ways import WAYS, Accepting, make_accepting_way
from tests.helpers.certs import CertSet


@pytest.fixture(params=WAYS)
def accepting(request: pytest.FixtureRequest, certs: CertSet) -> Accepting:
    """Every kind of connection that comes in."""
    return make_accepting_way(request.param, certs)


@pytest.fixture(params=WAYS[1:])
def accepting_tls(request: pytest.FixtureRequest, certs: CertSet) -> Accepting:
    """Every kind of it under TLS."""
    return make_accepting_way(request.param, certs)


# --------------------------------------------------------------------------- what does not depend on who has dialed

# Under --no-half-open these say the same of a connection that was accepted: the peer is a client then, and dials.
SAME = (
    test_ends.test_row_12_server_that_closes_without_a_byte,
    test_ends.test_row_13_end_of_the_server_ends_the_run_while_stdin_is_open,
    test_ends.test_row_14_half_open_closes_stdout_and_sends_on,
    test_ends.test_row_16_reset_after_data_delivers_it_first,
    test_ends.test_row_17_reset_while_sending_with_an_unread_answer,
    test_ends.test_row_18_reset_before_any_data,
    test_ends.test_row_19_reset_after_the_servers_end_when_data_was_lost,
    test_ends.test_row_20_idle_connection_is_probed,
    test_ends_flow.test_row_21_peer_never_reads_and_stdin_is_endless,
    test_ends_flow.test_row_21_server_that_reads_now_and_then,
    test_ends_flow.test_row_22_peer_with_the_smallest_window_reads_byte_by_byte,
    test_ends_flow.test_row_22_reading_goes_on_while_the_peer_takes_nothing,
    test_ends_flow.test_row_23_stdout_that_nobody_reads,
    test_ends_flow.test_row_25_bytes_that_come_one_by_one,
    test_ends_flow.test_row_25_bytes_that_go_one_by_one,
    test_ends_flow.test_row_53_every_byte_value_both_ways,
    test_ends_flow.test_row_55_nothing_in_either_direction,
)
SAME_UNDER_TLS = (test_tls_records.test_row_67_truncation_after_our_own_end,)


def row(test: Callable[..., None]) -> str:
    return test.__name__.removeprefix("test_")


@pytest.mark.parametrize("test", SAME, ids=row)
def test_row_is_the_same(test: Callable[..., None], accepting: Accepting, request: pytest.FixtureRequest) -> None:
    """Status, message and data as for a server."""
    run_as_client(test, accepting, request)


@pytest.mark.parametrize("test", SAME_UNDER_TLS, ids=row)
def test_row_is_the_same_under_tls(
    test: Callable[..., None], accepting_tls: Accepting, request: pytest.FixtureRequest
) -> None:
    """Status, message and data as for a server."""
    run_as_client(test, accepting_tls, request)


def run_as_client(test: Callable[..., None], way: Accepting, request: pytest.FixtureRequest) -> None:
    """Run the test with a peer that dials."""
    wanted = inspect.signature(test).parameters
    given: dict[str, Any] = {
        name: way if name in ("way", "tls_way") else request.getfixturevalue(name) for name in wanted
    }
    test(**given)
