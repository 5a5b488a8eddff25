"""`converse`: a dialog over a real connection, begun at once or after its greeting was read, and what it leaves."""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
import threading

import pytest

from cfcat import LostError, Socket, SocketOptions, TlsError, connect, listen, make_server_context
from cfcat.errors import DialogError, InjectionError
from cfcat.protocols import PROTOCOLS, HandshakeWrapper
from cfcat.protocols.upgrade import Earlier, converse, upgrade
from tests.helpers.links import fact, until
from tests.helpers.peers import Peer, serve
from tests.helpers.peers import Script as Play
from tests.protocols.scripts import NAMES, SCRIPTS, Script, start

DIALOGS = {script.protocol: script for script in reversed(SCRIPTS)}  # the first of each protocol
KIB = 1024


def play(script: Script) -> Play:
    """A server that holds the dialog; what it is told must be it, to the byte, and then the end."""

    def server(conn: Peer) -> None:
        assert conn.recv_exactly(len(script.opening)) == script.opening
        for said, we in script.turns:
            conn.send(said)
            assert conn.recv_exactly(len(we)) == we
        assert conn.recv_until_eof() == b""

    return server


async def read(socket: Socket, size: int) -> bytes:
    """Read so many bytes and no more, as a session does before a dialog begins."""
    reader = socket.readable.get_reader("byob")
    data = bytearray()
    while len(data) < size:
        buffer = bytearray(size - len(data))
        count = await reader.read_into(buffer)
        assert count, "the server ended"
        data += buffer[:count]
    reader.release_lock()
    return bytes(data)


def unasked(data: bytes) -> Earlier:
    """It came before anything was sent."""
    return Earlier(data, len(data))


async def opened(address: str) -> Socket:
    socket = connect(address, secure_transport="starttls")
    await socket.opened
    return socket


def first_turn(script: Script) -> bytes:
    """What the server says before it was asked for anything."""
    return b"" if script.opening else script.turns[0][0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_dialog_may_begin_after_its_greeting_was_read(protocol: str) -> None:
    """None of it read, one byte, half of it or all: the server is told the same, and the dialog comes to its end."""
    script = DIALOGS[protocol]
    length = len(first_turn(script))

    with serve(play(script)) as server:
        for size in sorted({0, min(1, length), length // 2, length}):
            heard: dict[str, bytes] = {"sent": b"", "received": b""}

            def hear(direction: str, data: bytes, heard: dict[str, bytes] = heard) -> None:
                heard[direction] += data

            socket = await opened(server.address)
            greeting = await read(socket, size)
            wrapper = await converse(socket, PROTOCOLS[protocol], NAMES, heard=hear, earlier=unasked(greeting))
            assert isinstance(wrapper, HandshakeWrapper) is (protocol == "mssql")
            assert heard["sent"] == script.opening + b"".join(we for _, we in script.turns)
            assert heard["received"] == script.server[size:]
            assert not socket.readable.locked
            assert not socket.writable.locked
            await socket.close()


SPEAK_FIRST = [script for script in DIALOGS.values() if not script.opening]


@pytest.mark.parametrize("script", SPEAK_FIRST, ids=repr)
def test_answers_to_what_was_sent_before_are_no_part_of_the_dialog(script: Script) -> None:
    """Something was sent before the greeting came, or in the middle of it: the greeting is what came first."""
    greeting, first = script.turns[0]
    for unasked in sorted({0, 1, len(greeting) // 2, len(greeting)}):
        we, run = first, start(script.protocol)
        assert run.feed_earlier(greeting + b"\r\nanswer to something\r\n", unasked) == len(greeting)
        for said, then in (*script.turns[1:], (b"", b"")):
            assert run.to_send() == we
            if said:
                run.feed(said)
            we = then
        assert run.done
        assert run.heard() == script.server


@pytest.mark.parametrize("script", SPEAK_FIRST, ids=repr)
def test_part_of_a_greeting_is_waited_for(script: Script) -> None:
    """As long as it is not all there, all of it counts, whenever it came."""
    greeting, we = script.turns[0]
    for size in range(len(greeting)):
        run = start(script.protocol)
        assert run.feed_earlier(greeting[:size], min(size, 1)) == size
        assert run.to_send() == b""
        run.feed(greeting[size:])
        assert run.to_send() == we


async def test_the_told_part_of_a_greeting_is_not_told_again() -> None:
    """It ends in the middle of a line, whose end comes in two pieces: each byte is told once."""
    read_so_far = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"220-first\r\n220 se")
        conn.send(b"co")
        conn.wait(read_so_far)
        conn.send(b"nd\r\n554 no\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        heard: dict[str, bytes] = {"sent": b"", "received": b""}

        def hear(direction: str, data: bytes) -> None:
            heard[direction] += data

        socket = await opened(server.address)
        greeting = await read(socket, len(b"220-first\r\n220 se"))
        dialog = asyncio.create_task(converse(socket, PROTOCOLS["smtp"], NAMES, heard=hear, earlier=unasked(greeting)))
        await until(lambda: socket.moved_bytes == len(greeting + b"co"))
        read_so_far.set()
        with pytest.raises(DialogError, match="refused"):
            await dialog
        await socket.close()
    assert heard["received"] == b"cond\r\n554 no\r\n"


async def test_greeting_may_have_more_than_itself() -> None:
    """What came with it is read as what comes after it, up to the go-ahead and beyond."""
    greeting, hello = b"220 mail ESMTP\r\n", b"250 mail\r\n"

    def script(conn: Peer) -> None:
        conn.recv_until_eof()

    with serve(script) as server:
        socket = await opened(server.address)
        early = greeting + hello + b"220 go\r\n"
        await converse(socket, PROTOCOLS["smtp"], NAMES, earlier=unasked(early))
        await socket.close()
        socket = await opened(server.address)
        with pytest.raises(InjectionError) as caught:
            await converse(socket, PROTOCOLS["smtp"], NAMES, earlier=unasked(early + b"250 injected\r\n"))
        assert caught.value.count == len(b"250 injected\r\n")
        await socket.close()
    assert server.peers[0].received == b"EHLO client.example\r\nSTARTTLS\r\n"
    assert server.peers[1].received == b""


@pytest.mark.parametrize(
    ("greeting", "message"),
    [
        (b"220 " + b"x" * 64 * KIB, "the server's greeting has no end within 64 KiB"),
        ((b"220-" + b"x" * KIB + b"\r\n") * 1020, "the server sent more than 1 MiB before its go-ahead"),
        (b"554 no\r\n", "the server refused the connection (code 554)"),
        (b"hello\r\n", "the server's greeting is not SMTP"),
        (b"\x15\x03\x01", "the server seems to speak TLS from the first byte"),
    ],
)
async def test_sec_r7_limits_and_refusals_hold_for_the_greeting(greeting: bytes, message: str) -> None:
    """It is judged before anything is sent, and the streams are unlocked after it."""

    with serve(Peer.recv_until_eof) as server:
        socket = await opened(server.address)
        with pytest.raises(DialogError) as caught:
            await converse(socket, PROTOCOLS["smtp"], NAMES, earlier=unasked(greeting))
        assert str(caught.value) == message
        assert not socket.readable.locked
        assert not socket.writable.locked
        await socket.close()
    assert server.received == b""


async def test_clear_text_goes_on_after_a_refusal() -> None:
    """SEC-R2: the server says no; the same connection can be read and written as before."""

    def script(conn: Peer) -> None:
        conn.send(b"+OK ready\r\n")
        assert conn.recv_until(b"\n") == b"STLS\r\n"
        conn.send(b"-ERR no TLS here\r\n")
        assert conn.recv_until(b"\n") == b"QUIT\r\n"
        conn.send(b"+OK bye\r\n")

    with serve(script) as server:
        socket = await opened(server.address)
        with pytest.raises(DialogError, match="refused STLS"):
            await converse(socket, PROTOCOLS["pop3"], NAMES)
        writer = socket.writable.get_writer()
        await writer.write(b"QUIT\r\n")
        assert await read(socket, 9) == b"+OK bye\r\n"
        writer.release_lock()
        await socket.close()


async def test_cancelled_dialog_leaves_what_comes_to_the_next_reader() -> None:
    """Ctrl-C while the server is silent: the streams are unlocked, and no byte that comes later is lost."""

    asked = threading.Event()

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n") == b"STARTTLS\r\n"
        asked.set()
        assert conn.recv_until(b"\n") == b"NICK me\r\n"
        conn.send(b":irc.example 451 * :late\r\n")

    with serve(script) as server:
        socket = await opened(server.address)
        task = asyncio.create_task(converse(socket, PROTOCOLS["irc"], NAMES))
        await fact(asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        writer = socket.writable.get_writer()
        await writer.write(b"NICK me\r\n")
        assert await read(socket, 26) == b":irc.example 451 * :late\r\n"
        writer.release_lock()
        await socket.close()


async def test_reset_in_the_dialog_is_named_and_unlocks() -> None:
    """A reset is an end of the dialog as any other (64), and says that it was one."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.reset()

    with serve(script) as server:
        socket = await opened(server.address)
        with pytest.raises(DialogError, match="reset by peer during the SMTP dialog"):
            await converse(socket, PROTOCOLS["smtp"], NAMES, earlier=unasked(b"220 mail\r\n"))
        assert not socket.readable.locked
        assert not socket.writable.locked
        socket.abort()


async def test_a_client_that_is_gone_before_its_last_answer_is_told_of_by_what_it_said() -> None:
    """It says QUIT and resets: the reason is that it left, and not that nobody was there for the answer."""
    async with listen("127.0.0.1:0", secure_transport="starttls", tls=make_server_context()) as listener:
        host, _, port = listener.local_address.rpartition(":")
        client = sockets.create_connection((host, int(port)), timeout=10)
        socket = await listener.accept()
        dialog = asyncio.create_task(converse(socket, PROTOCOLS["smtp"], NAMES))
        assert (await asyncio.to_thread(client.recv, 100)).startswith(b"220 ")
        client.sendall(b"QUIT\r\n")
        client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with pytest.raises(DialogError, match=r"the client left without asking for TLS \(QUIT\)"):
            await dialog
        assert not socket.writable.locked


async def test_a_client_that_resets_behind_the_go_ahead_is_told_of_by_the_handshake() -> None:
    """Whether that had begun is a matter of a millisecond, and none of the message."""
    options = SocketOptions(secure_transport="starttls", tls=make_server_context())
    async with listen("127.0.0.1:0", options) as listener:
        host, _, port = listener.local_address.rpartition(":")
        client = sockets.create_connection((host, int(port)), timeout=10)
        socket = await listener.accept()
        client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with pytest.raises(LostError):
            await socket.closed
        with pytest.raises(TlsError, match="connection reset by peer during the TLS handshake") as caught:
            await upgrade(socket, socket.peer, options, None)
        assert caught.value.by_client
