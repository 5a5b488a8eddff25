"""What every error of cfcat has in common."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle

import pytest

from cfcat import errors
from cfcat.errors import (
    AbortError,
    Attempt,
    BlockedError,
    CertificateError,
    ConnectError,
    ConnectTimeout,
    DialogError,
    InjectionError,
    LostError,
    ResolveError,
    SocketError,
    TlsError,
    UsageError,
    shortened,
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SocketError)]
MADE = [
    AbortError("a reason"),
    BlockedError("message", "detail", rule="P2"),
    CertificateError("message", verify_code=10),
    ConnectError("message", "detail", [Attempt("192.0.2.7:25", OSError(111, "refused"), 0.5)]),
    ConnectTimeout("message", "detail", while_waiting=True),
    DialogError("message", said=b"500 no", speaks_tls=True),
    InjectionError("message", 23),
    LostError(detail="connection reset", sending=True),
    ResolveError("message", "detail", temporary=True),
    TlsError("message", reason="REASON", said=b"220"),
    UsageError("message", "hint"),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_an_os_error(kind: type[SocketError]) -> None:
    """So that what has caught OSError from a socket catches these."""
    assert issubclass(kind, OSError)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_errors_are_copied_and_pickled_whole(error: SocketError) -> None:
    """Across processes, too: class, text and everything that it knows."""
    for other in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert (str(other), other.args) == (str(error), error.args)
        assert {**vars(other), "attempts": ()} == {**vars(error), "attempts": ()}  # an OSError equals itself alone
        assert [each.address for each in getattr(other, "attempts", ())] == [
            each.address for each in getattr(error, "attempts", ())
        ]


def test_errno_is_the_causes_number() -> None:
    """A number or None, never a text."""
    error = LostError(detail="connection reset")
    assert error.errno is None
    error.__cause__ = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    assert error.errno == errno.ECONNRESET
    error.__cause__ = OSError("a text")
    assert error.errno is None


def test_the_texts_stop_is_dropped_before_a_detail() -> None:
    """`message` is the reference's, with its full stop."""
    assert str(LostError()) == "Network connection lost."
    assert str(LostError(detail="connection reset")) == "Network connection lost: connection reset"


@pytest.mark.parametrize("count", [1, 8, 9, 4000])
def test_a_list_from_the_network_is_cut(count: int) -> None:
    """4,000 addresses that refuse make no message of 52 KB."""
    shown = shortened([f"192.0.2.{number}" for number in range(count)])
    assert shown.count(", ") == min(count, 8) - 1
    assert shown.endswith(f" and {count - 8} more") is (count > 8)
