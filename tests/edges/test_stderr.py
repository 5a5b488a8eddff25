"""Standard error never holds up the run: rows 29 and 39 of the fault matrix, at the descriptor itself."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import threading
import time
from pathlib import Path

import pytest

from cfcat.edges.stderr import PATIENCE_S, Stderr

LINES = "".join(f"line {number}\n" for number in range(20_000))  # more than a pipe holds


def test_text_arrives_whole(tmp_path: Path) -> None:
    """In a file it goes on where others have written, byte for byte."""
    with (tmp_path / "file").open("wb") as file:
        os.write(file.fileno(), b"before\n")
        Stderr(file.fileno()).write(LINES)
        os.write(file.fileno(), b"after\n")
    assert (tmp_path / "file").read_text() == f"before\n{LINES}after\n"


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_reads_gets_everything(kind: str) -> None:
    """However little there is room for at a time."""
    near, far = (end.detach() for end in socket.socketpair()) if kind == "socket" else reversed(os.pipe())
    seen = bytearray()

    def read() -> None:
        while data := os.read(far, 1000):
            seen.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    stderr = Stderr(near)
    stderr.write(LINES)
    os.close(near)
    if stderr._fd != near:
        os.close(stderr._fd)
    reader.join(10)
    os.close(far)
    assert seen.decode() == LINES


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_nobody_reads(kind: str) -> None:
    """It is dropped after a moment, once; the next reader is told how much, on a line of its own."""
    far, near = os.pipe() if kind == "pipe" else pty.openpty()
    flags = fcntl.fcntl(near, fcntl.F_GETFL)
    stderr = Stderr(near)
    began = time.monotonic()
    for _ in range(100):
        stderr.write(LINES)
    assert time.monotonic() - began < 100 * PATIENCE_S / 2  # it did not wait for each
    os.set_blocking(far, False)
    seen = bytearray()
    try:
        while data := os.read(far, 1 << 20):
            seen.extend(data)
    except BlockingIOError:
        pass
    stderr.write("at last\n")
    told = os.read(far, 4096).decode().replace("\r\n", "\n")
    assert len(seen) < len(LINES) * 2
    note, last = told.lstrip("\n").splitlines()
    assert note.startswith("cfcat: ")
    assert note.endswith(" bytes of this were not read in time, and dropped")
    assert last == "at last"
    assert told.startswith("\n") == (not seen.endswith(b"\n"))
    assert fcntl.fcntl(near, fcntl.F_GETFL) == flags  # row 39: the descriptor is shared
    stderr.write("once\n")
    assert os.read(far, 4096).decode().replace("\r\n", "\n") == "once\n"
    os.close(near)
    os.close(far)


def test_the_reader_is_gone() -> None:
    """Nothing is raised, and nothing waited for."""
    far, near = os.pipe()
    os.close(far)
    stderr = Stderr(near)
    for _ in range(100):
        stderr.write(LINES)
    os.close(near)


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null"])
def test_a_full_disk(path: str) -> None:
    """Nothing is raised."""
    with open(path, "wb") as file:
        Stderr(file.fileno()).write(LINES)


def test_text_of_any_kind(tmp_path: Path) -> None:
    """A lone surrogate is no reason to fail."""
    with (tmp_path / "file").open("wb") as file:
        Stderr(file.fileno()).write("\udcff\n")
    assert (tmp_path / "file").read_text() == "\\udcff\n"
