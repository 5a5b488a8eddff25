"""Much data in little memory. That every byte arrives, and only as fast as the slower side takes it: tests/faults."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.program import Result, finish, start
from tests.pipe.fast import MIB, check_stdout, fast_peer, peak_bytes, pushing
from tests.pipe.tools import Transport

# A few chunks may be on their way at a time; how many there are in all must not matter.
FLAT_BYTES = 8 * MIB
SIZES = (MIB, 256 * MIB)


def test_memory_is_flat_in_receiving(either: Transport) -> None:
    """The peak after 256 MiB is that after 1 MiB, give or take a few chunks."""
    peaks = []
    for size in SIZES:
        with fast_peer("source", size, either) as peer, start(*peer.arguments, timeout_s=30) as program:
            check_stdout(program, size)
            peaks.append(peak_bytes(program))
            peer.end()
            assert finish(program) == Result(b"", "", 0)
    assert peaks[1] - peaks[0] < FLAT_BYTES


def test_memory_is_flat_in_sending(either: Transport) -> None:
    """As in receiving."""
    peaks = []
    for size in SIZES:
        with fast_peer("sink", size, either) as peer, start(*peer.arguments, timeout_s=30) as program:
            pushing(program, size, end=False).join()
            assert program.read_until(str(size).encode()) == str(size).encode()
            peaks.append(peak_bytes(program))
            peer.end()
            assert finish(program) == Result(str(size).encode(), "", 0)
    assert peaks[1] - peaks[0] < FLAT_BYTES


def test_memory_is_flat_for_a_file(tmp_path: Path, plain: Transport) -> None:
    """A regular file is always ready, and is read no faster than it is sent all the same."""
    peaks = []
    for size in SIZES:
        with (tmp_path / "input").open("wb") as file:
            file.truncate(size)  # a hole: it needs no disk
        with fast_peer("sink", size, plain) as peer, (tmp_path / "input").open("rb") as file:
            with start("--no-shutdown", *peer.arguments, stdin=file, timeout_s=30) as program:
                program.read_until(str(size).encode())
                peaks.append(peak_bytes(program))
                peer.end()
                assert finish(program) == Result(str(size).encode(), "", 0)
    assert peaks[1] - peaks[0] < FLAT_BYTES
