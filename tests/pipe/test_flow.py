"""One direction by itself: fair to others, and gone without a trace when it is stopped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cfcat.edges.stdin import Input, open_input
from cfcat.edges.stdout import Output, open_output
from cfcat.errors import StdinError, StdoutError
from cfcat.pipe.flow import Flow
from tests.helpers.links import turns, until
from tests.pipe.fast import MIB
from tests.pipe.tools import pattern


@contextmanager
def edges(stdin: int, stdout: int) -> Iterator[tuple[Input, Output]]:
    """Two descriptors as cfcat takes them; closed at the end, the descriptors themselves too."""
    loop = asyncio.get_running_loop()
    source, sink = open_input(stdin, loop), open_output(stdout, loop)
    try:
        yield source, sink
    finally:
        source.close()
        sink.close()
        os.close(stdin)
        os.close(stdout)


async def test_what_is_always_ready_lets_others_run(tmp_path: Path) -> None:
    """A large file into /dev/null: neither side ever waits, and timers and signals get their turns all the same."""
    (tmp_path / "input").touch()
    os.truncate(tmp_path / "input", 256 * MIB)

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    with edges(os.open(tmp_path / "input", os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)) as (source, sink):
        counting = asyncio.create_task(count())
        flow = Flow(source, sink)
        await flow.run()
        counting.cancel()
        assert flow.moved_bytes == 256 * MIB
    assert turns >= 256 // 4  # a turn moves 4 MiB at most


async def test_the_bytes_are_what_came_through(tmp_path: Path) -> None:
    """What looks on sees each chunk, and says what is written in its place; that is what is counted."""
    (tmp_path / "input").write_bytes(pattern(MIB))
    seen: list[bytes] = []

    def through(chunk: memoryview) -> bytes:
        seen.append(bytes(chunk))
        return bytes(chunk) * 2

    output = os.open(tmp_path / "output", os.O_CREAT | os.O_WRONLY)
    with edges(os.open(tmp_path / "input", os.O_RDONLY), output) as (source, sink):
        flow = Flow(source, sink, through)
        await flow.run()
        assert flow.moved_bytes == 2 * MIB
    assert b"".join(seen) == pattern(MIB)
    assert (tmp_path / "output").read_bytes() == b"".join(chunk * 2 for chunk in seen)


@pytest.mark.parametrize("stuck", ["source", "sink"])
async def test_a_flow_that_is_stopped_watches_nothing_any_more(stuck: str) -> None:
    """The loop has forgotten its descriptors: their numbers may become something else's."""
    stdin, feed = os.pipe() if stuck == "source" else (os.open("/dev/zero", os.O_RDONLY), -1)
    drain, stdout = os.pipe()

    loop = asyncio.get_running_loop()
    before = descriptors()
    with edges(stdin, stdout) as (source, sink):
        mine = descriptors() - before | {stdin, stdout}
        flow = Flow(source, sink)
        running = asyncio.create_task(flow.run())
        await turns(5)
        if stuck == "sink":
            await until(lambda: flow.moved_bytes >= MIB)  # what the pipe holds
            await turns(5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not any(loop.remove_reader(fd) or loop.remove_writer(fd) for fd in mine)
    for fd in {feed, drain} - {-1}:
        os.close(fd)


def descriptors() -> set[int]:
    """The open ones, but for that of the listing itself."""
    return {int(name) for name in os.listdir("/dev/fd") if Path("/dev/fd", name).exists()}


async def test_an_error_of_the_source_ends_it(tmp_path: Path) -> None:
    """A folder has no bytes."""
    with edges(os.open(tmp_path, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)) as (source, sink):
        with pytest.raises(StdinError, match="cannot read standard input"):
            await Flow(source, sink).run()


async def test_an_error_of_the_sink_ends_it(tmp_path: Path) -> None:
    """A full disk."""
    (tmp_path / "input").write_bytes(b"data")

    with edges(os.open(tmp_path / "input", os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)) as (source, sink):
        with pytest.raises(StdoutError, match="no space left"):
            await Flow(source, sink).run()
