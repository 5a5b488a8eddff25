"""What several tests of pipe mode need: the kinds of connection, pipes filled to the brim, a halted program."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO

import pytest

from tests.helpers import program as program_module
from tests.helpers.certs import CertSet
from tests.helpers.peers import End, Peer, Script, Server, serve
from tests.helpers.program import Program
from tests.pipe.machine import PERIOD

__all__ = [
    "DEADLINE_S",
    "Transport",
    "fill",
    "halted",
    "pattern",
    "queues",
    "run_patched",
    "unread",
    "until",
    "until_arrived",
]

# For waits whose end is a fact; only a failure takes so long.
DEADLINE_S = 10.0
# Nothing has moved for so long: the pipe is full because its reader has stopped, not because it is slow.
STALL_S = 0.2
# sock_diag(7): the family of netlink, the message, "all that match", and the states of connections that have queues:
# ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK.
NETLINK_SOCK_DIAG, BY_FAMILY, REQUEST_DUMP, NO_COOKIE = 4, 20, 0x301, (1 << 64) - 1
OPEN_STATES = sum(1 << state for state in (1, 4, 5, 8, 9))
KEEPALIVE_TIMER = 2  # not the retransmission, the probing is what it waits for


@dataclass(frozen=True)
class Transport:
    """Clear text, or TLS of one version: what ends a stream differs, who ends when does not."""

    name: str
    version: ssl.TLSVersion | None
    certs: CertSet

    @property
    def options(self) -> list[str]:
        """What cfcat must be told."""
        return [] if self.version is None else ["--tls", "on", "--cacert", str(self.certs.ca)]

    @property
    def end(self) -> End:
        """How the orderly end of our data looks to the peer."""
        return "eof" if self.version is None else "close_notify"

    def serve(self, script: Script, *, timeout_s: float = DEADLINE_S) -> AbstractContextManager[Server]:
        """Serve `script`, which begins after the handshake."""

        def secured(conn: Peer) -> None:
            if self.version is not None:
                conn.start_tls(self.certs.server_context(version=self.version))
            script(conn)

        return serve(secured, timeout_s=timeout_s)

    def end_data(self, conn: Peer) -> None:
        """End the peer's data in order, and go on receiving."""
        if self.version is None:
            conn.end()
        else:
            conn.close_notify()


def pattern(count: int, start: int = 0) -> bytes:
    """Bytes `start` to `start + count` of an endless stream in which nothing can move unseen."""
    offset = start % len(PERIOD)
    return (PERIOD * (count // len(PERIOD) + 2))[offset : offset + count]


def fill(pipe: IO[bytes] | None, flowing: threading.Event, *, start: int = 0) -> int:
    """Write the pattern, from `start` on, until the pipe's reader takes no more; return how many bytes went in.

    `flowing` is what the peer sets when it has received the first of them: before that, a pipe that takes no
    more says nothing.
    """
    assert pipe is not None
    fd = pipe.fileno()
    count = os.write(fd, pattern(1, start)) if not flowing.is_set() else 0
    assert flowing.wait(DEADLINE_S)
    os.set_blocking(fd, False)
    try:
        while select.select([], [fd], [], STALL_S)[1]:
            count += os.write(fd, pattern(1 << 16, start + count))
    finally:
        os.set_blocking(fd, True)
    return count


def unread(pipe: IO[bytes] | None) -> int:
    """How many bytes of a pipe its reader has not taken; ask at either end."""
    assert pipe is not None
    size = struct.pack("i", 0)
    return int(struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, size))[0])


def queues(port: int, *, peer: bool = False) -> tuple[int, int]:
    """What the kernel holds for the loopback connection whose one end has this port (Linux).

    Bytes sent and not yet acknowledged, bytes received and not yet read: those of the end that talks to the
    port; with `peer` those of the end that has it.
    """
    receiving, sending = struct.unpack_from("=72xII", _known(port, peer=peer))
    return sending, receiving


def running_timer(port: int) -> int:
    """Which timer runs for the connection whose end has this port: `KEEPALIVE_TIMER`, or another."""
    return _known(port, peer=True)[18]


def _known(port: int, *, peer: bool) -> bytes:
    """What the kernel tells of a connection: `struct nlmsghdr` and `struct inet_diag_msg`.

    A list of all, /proc/net/tcp, has thousands that other tests have left, and this is asked often.
    """
    ports = (port, 0) if peer else (0, port)
    asked = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, OPEN_STATES)
    asked += struct.pack("!HH36xQ", *ports, NO_COOKIE)
    header = struct.pack("=IHHII", 16 + len(asked), BY_FAMILY, REQUEST_DUMP, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.send(header + asked)
        answer = kernel.recv(1 << 16)
    assert struct.unpack_from("=4xH", answer)[0] == BY_FAMILY, f"no connection with port {port}"
    return answer


def until(fact: Callable[[], object]) -> None:
    """Wait for a fact that nobody announces."""
    deadline = time.monotonic() + DEADLINE_S
    while not fact():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)


def until_arrived(conn: Peer, *, read: bool = False) -> None:
    """Wait until the client's kernel has all that was sent to it; with `read`, until the client has it."""
    until(lambda: queues(conn.address[1])[0] == 0)
    if read:
        until(lambda: queues(conn.address[1], peer=True)[1] == 0)


def run_patched(monkeypatch: pytest.MonkeyPatch, patch: str) -> None:
    """Let cfcat begin with a few lines of Python from here on, for what no peer and no shell can bring about."""
    code = f"import sys\n{patch}\nfrom cfcat.__main__ import main\nsys.exit(main())"
    monkeypatch.setattr(
        program_module, "command", lambda *args: [sys.executable, "-c", code, *(os.fspath(arg) for arg in args)]
    )


@contextmanager
def halted(program: Program) -> Iterator[None]:
    """Stop the program, so that what happens in the block is all there at once when it goes on."""
    os.kill(program.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        os.kill(program.pid, signal.SIGCONT)
