"""The dialogs of `scripts` over real sockets: a scripted peer holds them, then becomes the TLS server."""

from __future__ import annotations

import socket

import pytest

from cfcat.protocols import HandshakeWrapper
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer
from tests.protocols.scripts import SCRIPTS, Script

__all__ = ["DIALOGS", "NBD_REFUSED", "ours", "play", "said", "said_before", "start_tls", "trusting"]

NBD_REFUSED = bytes.fromhex("0003e889045565a9 00000005 80000002")
DIALOGS = {script.protocol: script for script in reversed(SCRIPTS)}  # the first of each protocol


def ours(text: bytes) -> bytes:
    """What a script has us say, with the names of this machine and of the target, which is on loopback."""
    hostname = socket.gethostname().encode()
    name = hostname if b"." in hostname else b"[127.0.0.1]"
    return text.replace(b"client.example", name).replace(b"server.example", b"127.0.0.1")


def said_before(script: Script, turn: int) -> bytes:
    """All that we may have said when the server's turn has this number; negative ones count from the end."""
    return ours(script.opening + b"".join(we for _, we in script.turns[:turn]))


def said(script: Script) -> bytes:
    """All that we say in the dialog."""
    return said_before(script, len(script.turns))


def play(conn: Peer, script: Script, turns: int | None = None) -> None:
    """Hold the dialog, or its first turns; what we say must be it, to the byte."""
    assert conn.recv_exactly(len(ours(script.opening))) == ours(script.opening)
    for server, we in script.turns[:turns]:
        conn.send(server)
        assert conn.recv_exactly(len(ours(we))) == ours(we)


def start_tls(conn: Peer, protocol: str, certs: CertSet) -> None:
    """Be the TLS server after the go-ahead; for mssql in its packets."""
    context = certs.server_context()
    if protocol != "mssql":
        conn.start_tls(context)
        return
    wrapper = HandshakeWrapper()
    send, receive = conn._send_wire, conn._recv_wire

    def receive_packets(limit: int) -> bytes:
        while data := receive(limit):
            if tls := wrapper.unwrap(data):
                return tls
        return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conn, "_send_wire", lambda data: send(wrapper.wrap(data)))
        patch.setattr(conn, "_recv_wire", receive_packets)
        conn.start_tls(context)
    assert not wrapper.incomplete


def trusting(protocol: str, certs: CertSet) -> list[str]:
    """What cfcat must be told to upgrade by this protocol's dialog."""
    return ["--starttls", protocol, "--cacert", str(certs.ca)]
