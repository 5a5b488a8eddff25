"""A tapped connection in the fault matrix: a scripted client, a scripted server, and the tap between them.

    played = way.play(client, server)
    played.check("server", 56, "connection reset by peer")

The scripts begin when both sides are as secure as they will be. What the fault does is to end this one connection in
words: `play` has a second client come behind it, which has to be served, and ends the tap by a signal.
"""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.ways import ask_for_upgrade, upgrade
from tests.helpers.callers import Caller, CallingPeer, calling
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, Server, serve
from tests.helpers.program import Argument, Program, start
from tests.pipe.tools import DEADLINE_S

__all__ = ["TAPS", "TLS_TAPS", "Played", "Tapping", "listen", "make_tapping"]

V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
# By name: the versions of the client and of the server, and whether there is a dialog before.
KINDS: dict[str, tuple[ssl.TLSVersion | None, ssl.TLSVersion | None, bool]] = {
    "plain": (None, None, False),
    "tls1.2": (V2, V2, False),
    "tls1.3": (V3, V3, False),
    "1.2 to 1.3": (V2, V3, False),
    "1.3 to 1.2": (V3, V2, False),
    "upgraded": (V3, V3, True),
}
TAPS = tuple(KINDS)
TLS_TAPS = TAPS[1:]


@dataclass(frozen=True)
class Played:
    """How it went. `report`: of `--json`; `stderr`: all that the tap said; the peers of the first connection."""

    report: dict[str, Any]
    stderr: str
    client: Caller
    server: Server
    target: str

    def check(self, who: str, status: int, text: str = "", hint: str = "") -> None:
        """This status, and a message that begins so, about that side; nothing for 0."""
        assert (self.report["status"], self.report["hint"] or "") == (status, hint), self.report
        if status == 0:
            assert self.report["message"] is None
            return
        name = self.target if who == "server" else re.escape(self.client.name)
        assert re.match(f"{name}: {text}", self.report["message"]), self.report["message"]

    @property
    def ends(self) -> list[tuple[str, str]]:
        """Who has ended, and how."""
        return [(end["side"], end["how"]) for end in self.report["ends"]]


@dataclass(frozen=True)
class Tapping:
    """A kind of tapped connection."""

    name: str
    certs: CertSet
    ca: Path

    @property
    def client_version(self) -> ssl.TLSVersion | None:
        return KINDS[self.name][0]

    @property
    def server_version(self) -> ssl.TLSVersion | None:
        return KINDS[self.name][1]

    @property
    def is_upgraded(self) -> bool:
        return KINDS[self.name][2]

    @property
    def is_secure(self) -> bool:
        return self.name != "plain"

    @property
    def options(self) -> list[Argument]:
        return ["--cacert", self.certs.ca, "--ca-out", self.ca, "--connect-timeout", "5"]

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts the tap."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        if self.client_version is not None:
            context.minimum_version = context.maximum_version = self.client_version
        return context

    def hello(self, conn: Peer) -> None:
        """Bring a client to where its ClientHello comes."""
        if self.is_upgraded:
            ask_for_upgrade(conn)

    def expect_hello(self, conn: Peer) -> None:
        """Bring the server there."""
        if self.is_upgraded:
            upgrade(conn)

    def secure_client(self, conn: Peer) -> None:
        self.hello(conn)
        if self.is_secure:
            conn.start_tls(self.trust())
        conn.forget()

    def secure_server(self, conn: Peer) -> None:
        self.expect_hello(conn)
        if self.is_secure:
            conn.start_tls(self.certs.server_context(version=self.server_version))
        conn.forget()

    def end_data(self, conn: Peer) -> None:
        """End the data of a side in order, and go on receiving."""
        if self.is_secure:
            conn.close_notify()
        else:
            conn.end()

    @property
    def end(self) -> str:
        """How such an end looks to the other side."""
        return "close_notify" if self.is_secure else "eof"

    def play(
        self, client: Script, server: Script, *options: Argument, raw: str = "", is_reached: bool = True
    ) -> Played:
        """Run it. The side that `raw` names, or "both", has its script begin with the connection. `is_reached`: the
        server sees this client, and not only the one that comes behind it.
        """
        connections = itertools.count(0 if is_reached else 1)

        def serving(conn: Peer) -> None:
            # By its place, not by what has happened: a connection that is reset at once is over before it is served.
            is_next = next(connections) > 0
            if raw not in ("server", "both") or is_next:
                self.secure_server(conn)
            if is_next:
                conn.send(conn.recv_until(b"\n"))
            else:
                server(conn)

        def calls(conn: Peer) -> None:
            if raw not in ("client", "both"):
                self.secure_client(conn)
            client(conn)

        with serve(serving, timeout_s=2 * DEADLINE_S) as served, calling(calls, timeout_s=2 * DEADLINE_S) as called:
            target = f"127.0.0.1:{served.port}"
            command = ["--tap", called.address, "--json", *self.options, *options, target]
            with start(*command, stdout=subprocess.DEVNULL, timeout_s=4 * DEADLINE_S) as program:
                report = read_report(program)
                self.check_service(called.port)
                program.send_signal(signal.SIGINT)
                assert program.wait(DEADLINE_S) == -signal.SIGINT
                assert program.stderr is not None
                stderr = (program.seen_stderr + program.stderr.read()).decode()
        assert "Traceback" not in stderr
        assert "cfcat: internal error" not in stderr
        return Played(report, stderr, called, served, target)

    def check_service(self, port: int) -> None:
        """The next client is served."""

        def script(conn: Peer) -> None:
            self.secure_client(conn)
            conn.send(b"next\n")
            assert conn.recv_until(b"\n") == b"next\n"

        dial(port).run(script)


def dial(port: int) -> CallingPeer:
    """A client of this port."""
    sock = socket.create_connection(("127.0.0.1", port))
    return CallingPeer(sock, sock.getsockname(), DEADLINE_S, threading.Event())


def listen(program: Program) -> int:
    """The port on which a tap says that it listens."""
    said = program.read_stderr_until("listening on ")
    while not (found := re.search(r"listening on 127\.0\.0\.1:(\d+)\n", said)):
        said = program.read_stderr_until("\n" if "listening on" in said.split("\n")[-1] else "listening on")
    return int(found[1])


def read_report(program: Program) -> dict[str, Any]:
    """The first object of `--json`."""
    said = program.read_stderr_until("}\n")
    found = next(line for line in said.splitlines() if line.startswith("{"))
    return dict(json.loads(found))


def make_tapping(name: str, certs: CertSet, folder: Path) -> Tapping:
    """The kind of this name."""
    return Tapping(name, certs, folder / "tap-ca.pem")
