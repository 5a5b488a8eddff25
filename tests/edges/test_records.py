"""Lines for a program that reads slowly, or not at all."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from cfcat.edges.records import Records
from cfcat.edges.stderr import PATIENCE_S

LINE = b"x" * 9999 + b"\n"


def told(count: int) -> bytes:
    return b"%d lost\n" % count


def read_all(fd: int) -> bytes:
    os.set_blocking(fd, False)
    seen = b""
    try:
        while data := os.read(fd, 1 << 20):
            seen += data
    except BlockingIOError:
        pass
    return seen


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_reads_gets_everything(blocking: bool) -> None:
    """However little there is room for at a time, and whatever kind of descriptor it is."""
    far, near = os.pipe()
    os.set_blocking(near, blocking)
    seen = bytearray()

    def read() -> None:
        while data := os.read(far, 1000):
            seen.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    records = Records(near, told)
    for _ in range(100):
        records.write(LINE)
    records.close()
    reader.join(10)
    os.close(far)
    assert bytes(seen) == LINE * 100


def test_a_reader_that_pauses_gets_whole_lines_and_is_told_what_it_lost() -> None:
    """The line that has begun is finished first; the writer did not wait for each."""
    far, near = os.pipe()
    os.set_blocking(near, False)
    records = Records(near, told)
    began_s = time.monotonic()
    for _ in range(100):
        records.write(LINE)
    assert time.monotonic() - began_s < 100 * PATIENCE_S / 2
    first = read_all(far)
    assert not first.endswith(b"\n")  # what the pipe held is not a number of lines
    records.write(b"again\n")
    *whole, lost, again, rest = (first + read_all(far)).split(b"\n")
    assert {line + b"\n" for line in whole} == {LINE}
    assert (lost, again, rest) == (b"%d lost" % (100 - len(whole)), b"again", b"")
    records.close()
    os.close(far)


def test_the_last_line_waits_for_a_slow_reader() -> None:
    """Where lines have been dropped before it, and others would not wait."""
    far, near = os.pipe()
    os.set_blocking(near, False)
    records = Records(near, told)
    for _ in range(100):
        records.write(LINE)
    seen = bytearray()
    reading = threading.Event()

    def read() -> None:
        reading.set()
        while data := os.read(far, 1 << 20):
            seen.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait(10)
    records.write(b"last\n", is_last=True)
    records.close()
    reader.join(10)
    os.close(far)
    assert seen.endswith(b"lost\nlast\n")


def test_a_reader_that_has_gone() -> None:
    """That ends it, and is no problem."""
    far, near = os.pipe()
    os.close(far)
    records = Records(near, told)
    records.write(LINE)
    records.write(LINE)
    assert (records.is_done, records.problem) == (True, "")


def test_a_full_disk() -> None:
    """That ends it, and is kept."""
    records = Records(os.open("/dev/full", os.O_WRONLY), told)
    records.write(LINE)
    records.write(LINE)
    assert (records.is_done, records.problem) == (True, "no space left on device")


def test_a_file(tmp_path: Path) -> None:
    """All of it, in large pieces."""
    records = Records(os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT), told)
    for _ in range(1000):
        records.write(LINE)
    records.close()
    records.close()
    assert (tmp_path / "file").read_bytes() == LINE * 1000
