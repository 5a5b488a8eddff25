"""Standard input that cannot be read any more: what the server sends is delivered, then comes the error."""

from __future__ import annotations

import time

import pytest

from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat

MESSAGE = "cfcat: cannot read standard input: input/output error\n"
LARGE = bytes(range(256)) * 4096
MODES = pytest.mark.parametrize("mode", [[], ["--repl"]], ids=["pipe", "script"])


def run(*arguments: str) -> Result:
    """The kernel answers EIO where nothing is mapped, at the first read."""
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        return cfcat(*arguments, stdin=memory)


@MODES
def test_all_that_the_server_sends_comes_first(mode: list[str]) -> None:
    """A megabyte, with pauses; the server's end is the end of the run."""

    def script(conn: Peer) -> None:
        for start in range(0, len(LARGE), 1 << 18):
            conn.send(LARGE[start : start + (1 << 18)])
            assert conn.quiet(0.1)

    with serve(script) as server:
        result = run(*mode, server.address)
    assert (result.stdout == LARGE, result.stderr, result.status) == (True, MESSAGE, 26)


@pytest.mark.parametrize(("mode", "ended"), [([], "reset"), (["--repl"], "eof")], ids=["pipe", "script"])
def test_our_end_is_not_sent(mode: list[str], ended: str) -> None:
    """While the server is listened to it sees no end; then a reset, so that it does not take a part for the whole.

    The lines of a script were whole, each of them: its session is closed in order.
    """

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        assert conn.quiet(0.2)
        conn.recv_until_eof()

    with serve(script) as server:
        result = run(*mode, "-q", "0.4", server.address)
    assert result == Result(b"hello", MESSAGE, 26)
    assert (server.received, server.ended) == (b"", ended)


@MODES
def test_quit_after_bounds_the_wait(mode: list[str]) -> None:
    """-q counts from the end of stdin, and this is one."""
    with serve(Peer.recv_until_eof) as server:
        began = time.monotonic()
        result = run(*mode, "-q", "0", server.address)
        assert time.monotonic() - began < 4  # not the five seconds of silence
    assert result == Result(b"", MESSAGE, 26)


def test_a_reset_meanwhile_changes_nothing() -> None:
    """The first error is the run's."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        assert conn.quiet(0.2)
        conn.reset()

    with serve(script) as server:
        assert run(server.address) == Result(b"hello", MESSAGE, 26)
