"""What a socket says of itself, the context of an upgrade, and writers that have closed (V19)."""

from __future__ import annotations

import pytest

from cfcat import CertificateError, ClosedError, ConnectError, connect, make_tls_context
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.streams import WRITABLE_CLOSED


def silent(conn: Peer) -> None:
    conn.hang()


async def test_v19_close_of_the_writer_rejects_after_a_failed_write() -> None:
    """V19: each time, with the failure where the write was not awaited."""
    with refusing() as port:
        writer = connect(f"127.0.0.1:{port}").writable.get_writer()
        writer.write(b"x")
        with pytest.raises(ConnectError):
            await writer.close()
        with pytest.raises(ClosedError, match=WRITABLE_CLOSED):
            await writer.close()


@pytest.mark.parametrize("locked", [True, False])
async def test_v19_start_tls_after_close_of_the_writer_says_so(locked: bool) -> None:
    """V19: that the stream was closed, whether a writer is held or not."""
    with serve(silent) as server:
        socket = connect(server.address, secure_transport="starttls", allow_half_open=True)
        writer = socket.writable.get_writer()
        await writer.close()
        if not locked:
            writer.release_lock()
        with pytest.raises(ClosedError, match=WRITABLE_CLOSED):
            await socket.start_tls().opened
        socket.abort()
        server.release()


async def test_reprs_name_the_target_the_phase_and_tls(certs: CertSet) -> None:
    """What a log or a debugger shows."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"ready")
        conn.hang()

    with serve(script) as server:
        async with connect(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca)) as socket:
            assert repr(socket) == f"<Socket {server.address}, opening, secure_transport='on'>"
            reader = socket.readable.get_reader()
            assert await reader.read() == b"ready"  # the server's part of the handshake is over
            reader.release_lock()
            assert repr(socket) == f"<Socket {server.address}, open, TLSv1.3>"
            assert repr(socket.readable) == f"<ReadableStream of {socket!r}, unlocked>"
            socket.writable.get_writer()
            assert repr(socket.writable) == f"<WritableStream of {socket!r}, locked>"
            socket.abort()
        server.release()


@pytest.mark.parametrize("given", [True, False])
async def test_start_tls_takes_a_context(certs: CertSet, given: bool) -> None:
    """In place of the one that `connect()` was given, which does not trust this server."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(), may_fail=not given)
        conn.recv_until_eof()

    with serve(script) as server:
        socket = connect(server.address, secure_transport="starttls", tls=make_tls_context())
        if given:
            async with socket.start_tls(tls=make_tls_context(cacert=certs.ca)) as secure:
                await secure.opened
                assert secure.tls_info is not None
        else:
            with pytest.raises(CertificateError):
                await socket.start_tls().opened
