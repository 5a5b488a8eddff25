"""The process: descriptors 0 to 2 are never a socket's, and an event loop has the descriptors that it needs."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from cfcat.program.modes import Stdin
from cfcat.program.process import check_descriptors, guard_standard_descriptors, kind_of_stdin
from tests.helpers.program import shell

# Which of the first three are closed, and what they are afterwards.
GUARDED = """
import os, sys
from cfcat.program.process import guard_standard_descriptors
closed = guard_standard_descriptors()
null = os.stat(os.devnull).st_rdev
assert all(os.fstat(fd).st_rdev == null for fd in closed), closed
assert os.open(os.devnull, os.O_RDONLY) > 2
print(*closed, file=open(sys.argv[1], "w"))
"""


@pytest.mark.parametrize(
    ("closing", "closed"), [("", ""), ("<&-", "0"), (">&-", "1"), ("2>&-", "2"), ("<&- >&- 2>&-", "0 1 2")]
)
def test_closed_descriptors_are_filled(tmp_path: os.PathLike[str], closing: str, closed: str) -> None:
    """With /dev/null, each with its own number."""
    script, told = os.path.join(tmp_path, "script.py"), os.path.join(tmp_path, "told")
    with open(script, "w") as file:
        file.write(GUARDED)
    assert shell(f"python {script} {told} {closing}").status == 0
    with open(told) as file:
        assert file.read().strip() == closed


def test_open_descriptors_stay() -> None:
    """Nothing is done to them."""
    assert guard_standard_descriptors() == []


def test_kind_of_stdin() -> None:
    """What has been filled is closed; a terminal is tried in `test_modes`."""
    assert kind_of_stdin([0, 2]) is Stdin.CLOSED
    assert kind_of_stdin([2]) is Stdin.OTHER


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """There is room for two more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, before[1]))
    yield free
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_too_few_descriptors(few_descriptors: int) -> None:
    """The system's own error, and what was taken to find out is given back."""
    with pytest.raises(OSError, match="Too many open files"):
        check_descriptors()
    free = os.dup(0)
    os.close(free)
    assert free == few_descriptors
