"""The four kinds of connection over which a row of the fault matrix is run: one test body serves them all.

    def test_row_12_end_without_a_byte(way: Transport) -> None:
        with way.serve(Peer.end) as server:
            assert cfcat(*way.options, server.address) == Result(b"", "", 0)

The fixture `way` runs a test once for each kind; `way.serve(script)` is `peers.serve`, where the script begins when
the connection is as secure as it will be, `way.options` is what cfcat must be told, `way.end_data(conn)` ends the
peer's data in order, and `way.end` is how the end of ours looks to it.
"""

from __future__ import annotations

import fcntl
import ssl
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.helpers.callers import calling
from tests.helpers.certs import CertSet
from tests.helpers.installed import demand
from tests.helpers.peers import Peer, Script, Server, serve
from tests.helpers.program import Argument, Result, cfcat
from tests.pipe.tools import DEADLINE_S, Transport
from tests.report.form import check_form

__all__ = [
    "WAYS",
    "WITH_HALF_OPEN",
    "Accepting",
    "Upgraded",
    "ask_for_upgrade",
    "at_once",
    "check_message",
    "demand",
    "flags",
    "hello_and_hang",
    "injecting",
    "make_accepting_way",
    "make_way",
    "patched",
    "resolving",
    "run",
    "shell_does",
    "upgrade",
]

T = TypeVar("T")

WAYS = ("plain", "tls1.2", "tls1.3", "upgraded")
# Every kind, and --half-open where the kind can make no difference to it: for `indirect=["way"]`.
WITH_HALF_OPEN = pytest.mark.parametrize(
    ("way", "options"),
    [*((name, []) for name in WAYS), ("plain", ["--half-open"])],
    indirect=["way"],
    ids=[*WAYS, "plain, half-open"],
)
VERSIONS = {"plain": None, "tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Upgraded(Transport):
    """Clear text first, TLS after the dialog of SMTP."""

    @property
    def options(self) -> list[str]:
        return ["--starttls", "smtp", "--cacert", str(self.certs.ca)]

    def serve(self, script: Script, *, timeout_s: float = DEADLINE_S) -> AbstractContextManager[Server]:
        def secured(conn: Peer) -> None:
            upgrade(conn)
            conn.start_tls(self.certs.server_context(version=self.version))
            conn.forget()
            script(conn)

        return serve(secured, timeout_s=timeout_s)


@dataclass(frozen=True)
class Accepting(Transport):
    """The other way round: cfcat listens and the peer dials. Where the peer has ended, so does cfcat."""

    upgraded: bool = False

    @property
    def own(self) -> list[str]:
        """What makes TLS of it."""
        if self.version is None:
            return []
        certificate = self.certs["good"]
        return [
            *(["--starttls", "smtp"] if self.upgraded else ["--tls", "on"]),
            *("--cert", str(certificate.chain), "--key", str(certificate.key)),
        ]

    @property
    def options(self) -> list[str]:
        return ["-l", "--no-half-open", *self.own]

    def secure(self, conn: Peer) -> None:
        """Bring a client's connection to where the script begins."""
        if self.upgraded:
            ask_for_upgrade(conn)
        if self.version is not None:
            conn.start_tls(self.certs.client_context(self.version))
            conn.forget()

    def serve(self, script: Script, *, timeout_s: float = DEADLINE_S) -> AbstractContextManager[Server]:
        def secured(conn: Peer) -> None:
            self.secure(conn)
            script(conn)

        return calling(secured, timeout_s=timeout_s)


def run(way: Accepting, script: Script, *options: Argument, stdin: bytes = b"") -> tuple[Result, Server]:
    """A whole run of cfcat with this client."""
    with way.serve(script) as caller:
        return cfcat(*way.options, *options, caller.address, stdin=stdin), caller


def make_accepting_way(name: str, certs: CertSet) -> Accepting:
    """The kind of this name, out of WAYS, for a connection that is accepted."""
    version = ssl.TLSVersion.TLSv1_3 if name == "upgraded" else VERSIONS[name]
    return Accepting(name, version, certs, upgraded=name == "upgraded")


def make_way(name: str, certs: CertSet) -> Transport:
    """The kind of this name, out of WAYS."""
    if name == "upgraded":
        return Upgraded(name, ssl.TLSVersion.TLSv1_3, certs)
    return Transport(name, VERSIONS[name], certs)


def upgrade(conn: Peer) -> None:
    """Hold the dialog of SMTP, up to the go-ahead."""
    conn.send(b"220 mail.example ESMTP\r\n")
    conn.recv_until(b"\r\n")
    conn.send(b"250-mail.example\r\n250 STARTTLS\r\n")
    assert conn.recv_until(b"\r\n") == b"STARTTLS\r\n"
    conn.send(b"220 go ahead\r\n")


def ask_for_upgrade(conn: Peer) -> None:
    """Hold the client's half of it."""
    assert conn.recv_until(b"\r\n").startswith(b"220 ")
    conn.send(b"EHLO me.example\r\n")
    while conn.recv_until(b"\r\n")[3:4] == b"-":
        pass
    conn.send(b"STARTTLS\r\n")
    assert conn.recv_until(b"\r\n").startswith(b"220 ")


def at_once(jobs: Iterable[Callable[[], T]]) -> list[T]:
    """Run these at the same time: most of each is waiting, or the start of Python."""
    with ThreadPoolExecutor(32) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def check_message(result: Result, status: int, text: str, *, stdout: bytes = b"") -> str:
    """Exactly this status and output, and one message that begins with `text`; returns its hint, or ""."""
    assert (result.status, len(result.stdout)) == (status, len(stdout)), result
    assert result.stdout == stdout
    said, hint = check_form(result.stderr)
    assert said.startswith(text), said
    return hint


def hello_and_hang(conn: Peer) -> None:
    """Speak once, then wait for the test."""
    conn.send(b"hello")
    conn.hang()


def flags(fd: int) -> int:
    """The flags of an open file, O_NONBLOCK among them: shared by all processes that have inherited it."""
    return fcntl.fcntl(fd, fcntl.F_GETFL)


# -------------------------------------------------------------------- ways to start cfcat: `start(…, by=…)`

RESOLVER = """
import socket
real = socket.getaddrinfo
def resolve(host, port, family=0, *rest):
    if rest[2:]:  # is it an address?
        return real(host, port, family, *rest)
    answer(host)
    found = []
    for address in {addresses!r}:
        try:
            found += real(address, port, family, *rest)
        except socket.gaierror:
            pass  # of the other family
    return found
socket.getaddrinfo = resolve
def answer(host):
    {answer}
"""


def resolving(*addresses: str, answer: str = "pass") -> list[str]:
    """Let every name have these addresses, after a line of Python; a real resolver would need the whole machine."""
    return patched(RESOLVER.format(addresses=addresses, answer=answer))


def patched(patch: str) -> list[str]:
    """Begin with a few lines of Python, for what no peer and no system call can bring about."""
    # Behind it comes a command `python -m cfcat …`, of which only the arguments are wanted.
    code = f"import sys\nsys.argv[1:4] = []\n{patch}\nfrom cfcat.__main__ import main\nsys.exit(main())"
    return [sys.executable, "-c", code]


def shell_does(script: str) -> list[str]:
    """Let a shell prepare the process: `script` has the command as "$@", to be run by exec."""
    return ["bash", "-c", script, "bash"]


def injecting(*faults: str, path: str | None = None) -> list[str]:
    """Let system calls fail as strace's --inject says: `recvfrom:error=ETIMEDOUT:when=2`, `connect:signal=INT`.

    With `path` only calls on this file do.
    """
    calls = ",".join(fault.partition(":")[0] for fault in faults)
    only = [] if path is None else ["-P", path]
    # With the filter, which lets all other calls run at their own speed, no signal is delivered (strace 6.1).
    fast = [] if any("signal=" in fault for fault in faults) else ["--seccomp-bpf"]
    options = ["-f", *fast, "-qq", "-o", "/dev/null", *only, "-e", f"trace={calls}"]
    return [demand("strace"), *options, *(f"--inject={fault}" for fault in faults)]
