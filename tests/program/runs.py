"""Runs of every kind, for the tests of what is told of them."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, blackhole, refusing, serve
from tests.helpers.program import Result, cfcat

__all__ = ["RUNS", "Kind", "Run", "golden", "normalized"]

GREETING = b"220 mail.example \x1b[2J\xe2\x80\xae ready\r\n"
# A name with two addresses, of which the first is dead; real sockets, and a resolver of our own.
RESOLVER = """
import runpy, socket, sys
real = socket.getaddrinfo
def resolve(host, port, family=0, type=0, proto=0, flags=0):
    if host != b"two.test":
        return real(host, port, family, type, proto, flags)
    if flags & socket.AI_NUMERICHOST:
        raise socket.gaierror(socket.EAI_NONAME, "not an address")
    ports = {ports}
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in ports]
socket.getaddrinfo = resolve
sys.argv = sys.argv[3:]
runpy.run_module("cfcat", run_name="__main__")
"""


class Run(NamedTuple):
    """How it went, and the ports that differ each time: of the server first, then of others."""

    result: Result
    ports: tuple[int, ...]


Kind = Callable[[CertSet, tuple[str, ...]], Run]


@dataclass(frozen=True)
class _Served:
    """A run against a script, with these flags."""

    script: Callable[[CertSet], Script]
    flags: Callable[[CertSet], tuple[object, ...]] = lambda certs: ()
    stdin: bytes = b"ping\n"

    def __call__(self, certs: CertSet, more: tuple[str, ...]) -> Run:
        with serve(self.script(certs)) as server:
            flags = [str(flag) for flag in self.flags(certs)]
            return Run(cfcat(*flags, *more, server.address, stdin=self.stdin), (server.port,))


def _echo(conn: Peer) -> None:
    conn.send(conn.recv_until_eof())


def _context(certs: CertSet) -> ssl.SSLContext:
    return certs.server_context(version=ssl.TLSVersion.TLSv1_3)


def _tls(certs: CertSet) -> Script:
    def script(conn: Peer) -> None:
        conn.start_tls(_context(certs))
        _echo(conn)

    return script


def _smtp(certs: CertSet) -> Script:
    def script(conn: Peer) -> None:
        conn.send(GREETING)
        assert conn.recv_until(b"\n").startswith(b"EHLO ")
        conn.send(b"250-mail.example\r\n250 STARTTLS\r\n")
        assert conn.recv_until(b"\n") == b"STARTTLS\r\n"
        conn.send(b"220 go\r\n")
        conn.start_tls(_context(certs))
        conn.forget()
        _echo(conn)

    return script


def _injected(certs: CertSet) -> Script:
    def script(conn: Peer) -> None:
        conn.send(b"* OK ready\r\n")
        tag = conn.recv_until(b"\n").split()[0]
        conn.send(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + tag + b" OK done\r\n")
        tag = conn.recv_until(b"\n").split()[0]
        conn.send(tag + b" OK go\r\nFORGED\r\n")

    return script


def _refused(certs: CertSet) -> Script:
    def script(conn: Peer) -> None:
        conn.recv_exactly(8)
        conn.send(b"EFORGED text of an attacker\0")

    return script


def _reset(certs: CertSet) -> Script:
    def script(conn: Peer) -> None:
        conn.send(b"half an ans")
        conn.recv_until_eof()
        conn.reset()

    return script


def _truncated(certs: CertSet) -> Script:
    def script(conn: Peer) -> None:
        conn.start_tls(_context(certs))
        conn.send(b"half an ans")
        conn.recv_until_eof()
        conn.end()

    return script


def _silent(certs: CertSet) -> Script:
    return lambda conn: conn.hang()


def _expired(certs: CertSet) -> Script:
    return lambda conn: conn.start_tls(certs.server_context("expired"), may_fail=True)


def _race(certs: CertSet, more: tuple[str, ...]) -> Run:
    with blackhole() as dead, serve(_echo) as server:
        by = [sys.executable, "-c", RESOLVER.format(ports=(dead, server.port))]
        return Run(cfcat(*more, f"two.test:{server.port}", stdin=b"ping\n", by=by), (server.port, dead))


def _nobody(certs: CertSet, more: tuple[str, ...]) -> Run:
    with refusing() as port, refusing() as other:
        by = [sys.executable, "-c", RESOLVER.format(ports=(port, other))]
        return Run(cfcat(*more, f"two.test:{port}", stdin=b"ping\n", by=by), (port, other))


def _usage(certs: CertSet, more: tuple[str, ...]) -> Run:
    return Run(cfcat(*more, "-4", "-6", "localhost:1"), ())


RUNS: dict[str, Kind] = {
    "plain": _Served(lambda certs: _echo),
    "tls": _Served(_tls, lambda certs: ("--tls", "on", "--cacert", certs.ca, "--alpn", "h2,smtp")),
    "insecure": _Served(_tls, lambda certs: ("--tls", "on", "-k")),
    "starttls": _Served(_smtp, lambda certs: ("--starttls", "smtp", "--cacert", certs.ca)),
    "injected": _Served(_injected, lambda certs: ("--starttls", "imap", "--cacert", certs.ca)),
    "refused": _Served(_refused, lambda certs: ("--starttls", "postgres", "--cacert", certs.ca)),
    "reset": _Served(_reset),
    "truncated": _Served(_truncated, lambda certs: ("--tls", "on", "--cacert", certs.ca)),
    "expired": _Served(_expired, lambda certs: ("--tls", "on", "--cacert", certs.ca)),
    "quit": _Served(_silent, lambda certs: ("-q", "0.2")),
    "idle": _Served(_silent, lambda certs: ("-w", "0.2")),
    "race": _race,
    "nobody": _nobody,
    "usage": _usage,
}


def normalized(run: Run) -> str:
    """What was told on stderr, without what differs from run to run: times, ports, names, certificates."""
    text = run.result.stderr
    for port, name in zip(run.ports, ("PORT", "OTHER"), strict=False):
        text = text.replace(f":{port}", f":{name}")
    text = re.sub(r"(from 127\.0\.0\.1):\d+", r"\1:LOCAL", text)
    text = re.sub(r"\b\d+\.\d+ m?s\b", "TIME", text)
    text = re.sub(r"(subject|issuer|by|serial|sha256)(:?) .*", r"\1\2 ...", text)
    text = re.sub(r"valid: .*, \d+ days left", "valid: ..., N days left", text)
    text = re.sub(r"expired \d+ days ago", "expired N days ago", text)
    return re.sub(r"EHLO [^\s\\\"]+", "EHLO ME", text)


def golden(text: str) -> str:
    """An indented block of a test, as stderr has it."""
    lines = text.strip("\n").split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "".join(f"{line[margin:]}\n" for line in lines if line.strip())
