"""`listen()` and `serve()`: addresses, who is let in, what becomes of a socket when its handler ends, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import logging
import os
import resource
import socket as stdlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cfcat import (
    AddressError,
    CaFileError,
    CertificateError,
    ClientCertificateError,
    Listener,
    ListenError,
    LostError,
    OptionsError,
    Socket,
    TlsError,
    UpgradeError,
    connect,
    listen,
    make_server_context,
    make_tls_context,
    serve,
)
from cfcat.core.listen import TcpDoor
from cfcat.core.race import Address
from tests.helpers.certs import CertSet, Kind
from tests.helpers.links import BIG, open_descriptors, read_all, until

Handler = Callable[[Socket], Awaitable[object]]


def dial(address: str) -> stdlib.socket:
    """A plain client."""
    host, _, port = address.rpartition(":")
    return stdlib.create_connection((host.strip("[]"), int(port)), timeout=10)


def reset(client: stdlib.socket) -> None:
    client.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def received_some(client: stdlib.socket) -> bytes:
    """What a plain client gets next."""
    return await asyncio.to_thread(client.recv, 65536)


async def received(client: stdlib.socket) -> bytes:
    """All that a plain client gets, to the end."""
    data = b""
    while chunk := await asyncio.to_thread(client.recv, 65536):
        data += chunk
    return data


@contextlib.asynccontextmanager
async def serving(handler: Handler, address: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[str]:
    """A server in the background; yields its address."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(handler, address, ready=ready.set_result, **options))
    task.add_done_callback(lambda _: ready.done() or ready.cancel())
    await asyncio.wait([ready])
    if task.done():
        task.result()
    try:
        yield ready.result()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# ------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_port_0_is_any_free_port_and_its_number_is_told(host: str) -> None:
    """`local_address` is "" before, and has the real port."""
    listener = listen(f"{host}:0")
    assert listener.local_address == ""
    async with listener:
        assert listener.local_address.startswith(f"{host}:")
        assert int(listener.local_address.rpartition(":")[2]) > 0
        dial(listener.local_address).close()


async def test_a_name_is_listened_on_at_all_its_addresses_with_one_port() -> None:
    """`localhost` is IPv4 and IPv6 here, in whatever order; both lead to the same listener."""
    async with listen("localhost:0") as listener:
        hosts = {address.rpartition(":")[0] for address in listener.local_addresses}
        assert hosts == {str(info[4][0]) if "." in str(info[4][0]) else f"[{info[4][0]}]" for info in resolved()}
        assert len({address.rpartition(":")[2] for address in listener.local_addresses}) == 1
        for address in listener.local_addresses:
            with dial(address):
                socket = await listener.accept()
                assert (await socket.opened).local_address == address


def resolved() -> list[Any]:
    return stdlib.getaddrinfo("localhost", 0, type=stdlib.SOCK_STREAM)


async def test_a_star_is_every_address_of_this_machine() -> None:
    """IPv4 and IPv6, each by itself."""
    async with listen("*:0") as listener:
        assert {address.rpartition(":")[0] for address in listener.local_addresses} == {"0.0.0.0", "[::]"}
    async with listen("*:0", address_family="ipv4") as listener:
        assert [address.rpartition(":")[0] for address in listener.local_addresses] == ["0.0.0.0"]


@pytest.mark.parametrize("often", [3, 1000], ids=["a few times", "always"])
async def test_a_port_that_is_free_in_one_family_only_is_not_taken(monkeypatch: pytest.MonkeyPatch, often: int) -> None:
    """Port 0 is any port that is free in both: another one is tried, but not for ever."""
    with contextlib.ExitStack() as rivals:
        left = iter(range(often))

        class Contested(TcpDoor):
            def __init__(self, address: Address) -> None:
                super().__init__(address)
                if address.family == stdlib.AF_INET and next(left, None) is not None:
                    rival = rivals.enter_context(stdlib.socket(stdlib.AF_INET6))
                    rival.setsockopt(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, 1)
                    rival.bind(("::", self.address.sockaddr[1]))

        monkeypatch.setattr("cfcat.core.accepting.TcpDoor", Contested)
        listener = listen("*:0")
        if often > 3:
            with pytest.raises(ListenError, match="address already in use"):
                await listener.start()
            assert listener.local_addresses == ()
            assert next(left) == 10
        else:
            async with listener:
                assert len({address.rpartition(":")[2] for address in listener.local_addresses}) == 1


async def test_a_unix_socket_has_no_remote_address(tmp_path: Path) -> None:
    """`unix:/path` is an address (V20, V26); the file goes at the end."""
    path = tmp_path / "door"
    async with listen(f"unix:{path}") as listener:
        assert listener.local_address == f"unix:{path}"
        with stdlib.socket(stdlib.AF_UNIX) as client:
            client.connect(str(path))
            socket = await listener.accept()
            assert await socket.opened == ("", f"unix:{path}")
            client.sendall(b"hello")
            assert await socket.readable.get_reader().read() == b"hello"
    assert not path.exists()


async def test_an_address_in_use_is_said_by_name() -> None:
    """And nothing is left of the other doors."""
    async with listen("127.0.0.1:0") as listener:
        before = open_descriptors()
        with pytest.raises(ListenError, match=rf"^cannot listen on {listener.local_address}: address already in use$"):
            await listen(listener.local_address).start()
        assert open_descriptors() == before


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.1:0", "cannot listen on 192.0.2.1:0: cannot assign requested address"),
        ("nowhere.invalid:80", "cannot listen on nowhere.invalid:80: name or service not known"),
        ("unix:/nowhere/door", "cannot listen on unix:/nowhere/door: no such file or directory"),
        ("unix:/nowhere\0/door", "cannot listen on unix:/nowhere\0/door: no path has a nul in it"),
        ("unix:/etc/passwd", "cannot listen on unix:/etc/passwd: something is there that is no socket"),
    ],
)
async def test_what_cannot_be_listened_on_says_why(address: str, words: str) -> None:
    """In one line, with the address as it was given."""
    with pytest.raises(ListenError) as caught:
        await listen(address).start()
    assert str(caught.value) == words


async def test_wrong_addresses_and_options_are_refused_before_anything_is_done() -> None:
    """As `connect()` does; TLS needs a server's context."""
    with pytest.raises(AddressError):
        listen("localhost")
    with pytest.raises(TypeError, match="no option 'backlog'"):
        listen("127.0.0.1:0", backlog=3)  # type: ignore[call-arg]
    with pytest.raises(OptionsError, match="needs a server's context: tls=make_server_context"):
        listen("127.0.0.1:0", secure_transport="on")
    with pytest.raises(OptionsError, match="tls is a client's context"):
        listen("127.0.0.1:0", secure_transport="on", tls=make_tls_context())


# ---------------------------------------------------------------------------------------- connections


async def test_connections_are_yielded_open_and_half_open() -> None:
    """`opened` has settled, both ends are known, and EOF leaves our side alone (I2, I10)."""
    async with listen("127.0.0.1:0") as listener:
        with dial(listener.local_address) as client:
            socket = await anext(listener)
            assert socket.accepted
            assert socket.opened.done()
            host, port = client.getsockname()
            assert await socket.opened == (f"{host}:{port}", listener.local_address)
            client.shutdown(stdlib.SHUT_WR)
            assert await read_all(socket) == b""
            await socket.writable.get_writer().write(b"still here")
            assert await received_some(client) == b"still here"


async def test_half_open_can_be_refused() -> None:
    """H1 then holds, as for `connect()`."""
    async with listen("127.0.0.1:0", allow_half_open=False) as listener:
        with dial(listener.local_address) as client:
            socket = await listener.accept()
            client.shutdown(stdlib.SHUT_WR)
            assert await read_all(socket) == b""
            assert await received(client) == b""
            await socket.closed


async def test_leaving_stops_listening_and_ends_what_is_open_in_order() -> None:
    """What was written goes out, upgraded or not; nobody can connect any more."""
    async with listen("127.0.0.1:0") as listener:
        client = dial(listener.local_address)
        socket = await listener.accept()
        socket.writable.get_writer().write(BIG)
        reading = asyncio.create_task(received(client))
    assert await reading == BIG
    client.close()
    with pytest.raises(ConnectionRefusedError):
        dial(f"127.0.0.1:{(await socket.opened).local_address.rpartition(':')[2]}")


async def test_leaving_by_an_exception_resets_what_is_open() -> None:
    """As `async with` a socket."""
    listener = listen("127.0.0.1:0")
    await listener.__aenter__()
    client = dial(listener.local_address)
    await listener.accept()
    await listener.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)


async def test_a_client_that_takes_nothing_more_does_not_hold_up_the_end() -> None:
    """The rest is dropped after a moment without movement, and it sees a reset."""
    async with listen("127.0.0.1:0") as listener:
        client = dial(listener.local_address)
        socket = await listener.accept()
        socket.writable.get_writer().write(bytes(64 << 20))
    with client, pytest.raises(ConnectionResetError):
        await received(client)


async def test_a_cancelled_wait_loses_no_connection() -> None:
    """The next one has it."""
    async with listen("127.0.0.1:0") as listener:
        waiting = asyncio.create_task(listener.accept())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with dial(listener.local_address) as client:
            socket = await listener.accept()
            assert socket.peer == f"127.0.0.1:{client.getsockname()[1]}"


async def test_a_client_that_is_gone_before_it_is_accepted_is_yielded_with_its_bytes() -> None:
    """I1, I9: what it sent comes first, then the error."""
    async with listen("127.0.0.1:0") as listener:
        client = dial(listener.local_address)
        client.sendall(b"last words")
        reset(client)
        socket = await listener.accept()
        reader = socket.readable.get_reader()
        assert await reader.read() == b"last words"
        with pytest.raises(LostError):
            await reader.read()
        with pytest.raises(LostError):
            await socket.closed


async def test_i22_closed_goes_by_the_connection() -> None:
    """A reset rejects it although nobody reads, and both ends resolve it although EOF is unread."""
    async with listen("127.0.0.1:0") as listener:
        client = dial(listener.local_address)
        socket = await listener.accept()
        reset(client)
        with pytest.raises(LostError, match="connection reset by peer"):
            await socket.closed
        with dial(listener.local_address) as client:
            socket = await listener.accept()
            client.sendall(b"unread")
            client.shutdown(stdlib.SHUT_WR)
            await socket.writable.close()
            await socket.closed
            assert await read_all(socket) == b"unread"


async def test_v24_an_answer_arrives_although_the_request_is_unread() -> None:
    """FIN first, and what comes is dropped for a moment; a reset would take the answer along."""
    async with listen("127.0.0.1:0") as listener:
        with dial(listener.local_address) as client:
            socket = await listener.accept()
            client.sendall(bytes(100_000))
            socket.writable.get_writer().write(b"answer")
            await socket.close()
            assert await received(client) == b"answer"


async def test_nothing_is_left_of_a_thousand_connections() -> None:
    """Neither descriptors nor sockets in the listener's hands."""
    async with listen("127.0.0.1:0") as listener:
        before = open_descriptors()
        for number in range(1000):
            with dial(listener.local_address) as client:
                socket = await listener.accept()
                if number % 3 == 0:
                    reset(client)
                elif number % 3 == 1:
                    socket.abort()
            with contextlib.suppress(LostError):
                await socket.close()
                await socket.closed
        assert listener._open == set()
        assert open_descriptors() == before


def test_a_loop_that_ends_keeps_no_descriptor() -> None:
    """What watched the connections that were open then goes with the loop."""

    async def leave_one_open() -> tuple[stdlib.socket, stdlib.socket]:
        async with listen("127.0.0.1:0") as listener:
            client = dial(listener.local_address)
            accepted = await listener.accept()
            listener._open.clear()  # leaving would end it
        assert accepted._wire.sock is not None
        return client, accepted._wire.sock

    before = open_descriptors()
    for ours in asyncio.run(leave_one_open()):
        ours.close()
    gc.collect()
    assert open_descriptors() == before


# -------------------------------------------------------------------------------------------- serve()


async def test_a_workers_handler_line_by_line() -> None:
    """`async connect(socket, env, ctx) { await socket.readable.pipeTo(socket.writable) }`, and one that talks."""

    async def echo(socket: Socket) -> None:
        await socket.readable.pipe_to(socket.writable)

    async def greeter(socket: Socket) -> None:
        writer = socket.writable.get_writer()
        reader = socket.readable.get_reader()
        await writer.write(b"name? ")
        name = await reader.read()
        await writer.write(b"hello, " + name)
        await writer.close()

    async with serving(echo) as address:
        async with connect(address, allow_half_open=True) as socket:
            writer = socket.writable.get_writer()
            sent = writer.write(BIG), writer.close()
            assert await read_all(socket) == BIG
            await asyncio.gather(*sent)
    async with serving(greeter) as address:
        with dial(address) as client:
            assert await received_some(client) == b"name? "
            client.sendall(b"Ada")
            assert await received(client) == b"hello, Ada"


async def test_a_thousand_clients_at_a_time_and_one_failing_handler_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its own client sees a reset, and the loop's exception handler is told; the server goes on."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    together = asyncio.Event()
    here = 0

    async def handler(socket: Socket) -> None:
        nonlocal here
        here += 1
        if here == 1000:
            together.set()
        await together.wait()
        data = await socket.readable.get_reader().read()
        if data == b"13":
            raise ZeroDivisionError
        await socket.writable.get_writer().write(data * 2)

    async with serving(handler) as address:

        async def client(number: int) -> bytes | None:
            async with connect(address) as socket:
                await socket.writable.get_writer().write(b"%d" % number)
                return await read_all(socket)

        answers = await asyncio.gather(*(client(number) for number in range(1000)), return_exceptions=True)
    assert isinstance(answers[13], LostError)
    assert [answer for number, answer in enumerate(answers) if number != 13] == [
        b"%d" % number * 2 for number in range(1000) if number != 13
    ]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]
    assert "the handler failed" in told[0]["message"]


async def test_v23_a_handler_that_returns_loses_nothing_that_it_wrote() -> None:
    """Awaited or not, and pipes under way end by themselves."""

    async def write_and_go(socket: Socket) -> None:
        socket.writable.get_writer().write(BIG)

    async def pipe_and_go(socket: Socket) -> None:
        socket.readable.pipe_to(socket.writable)

    async with serving(write_and_go) as address:
        with dial(address) as client:
            assert await received(client) == BIG
    async with serving(pipe_and_go) as address:
        with dial(address) as client:
            client.sendall(b"echo")
            assert await received_some(client) == b"echo"
            client.shutdown(stdlib.SHUT_WR)
            assert await received(client) == b""


async def test_cancelling_serve_resets_what_its_handlers_are_at() -> None:
    """And waits for them."""
    came, left = asyncio.Event(), asyncio.Event()

    async def handler(socket: Socket) -> None:
        came.set()
        try:
            await socket.readable.get_reader().read()
        finally:
            left.set()

    async with serving(handler) as address:
        client = dial(address)
        await came.wait()
    assert left.is_set()
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)


async def test_what_is_no_handler_is_said() -> None:
    """At once where it cannot be called, as an address; else with the first client."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with pytest.raises(TypeError, match=r"^the handler is a coroutine function that takes a socket, not str$"):
        await serve("127.0.0.1:0", lambda _: None)  # type: ignore[arg-type]
    async with serving(lambda _: None) as address:  # type: ignore[arg-type,return-value]
        client = dial(address)
        with pytest.raises(ConnectionResetError), client:
            await received_some(client)
    assert [str(context["exception"]) for context in told] == ["the handler must be a coroutine function: async def"]


async def test_serve_goes_on_when_descriptors_are_used_up(caplog: pytest.LogCaptureFixture) -> None:
    """A client that cannot be accepted waits in the backlog until there are some again."""
    caplog.set_level(logging.INFO, "cfcat")

    async def handler(socket: Socket) -> None:
        await socket.readable.pipe_to(socket.writable)

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(handler) as address:
        with dial(address) as client, stdlib.socket() as spare:
            client.sendall(b"one")
            assert await received_some(client) == b"one"
            highest = max(map(int, os.listdir("/proc/self/fd")))
            hogs = [os.open("/dev/null", os.O_RDONLY)]
            while hogs[-1] <= highest:  # the numbers below, too
                hogs.append(os.open("/dev/null", os.O_RDONLY))
            resource.setrlimit(resource.RLIMIT_NOFILE, (hogs[-1] + 1, limit[1]))
            try:
                spare.connect(client.getpeername())
                spare.sendall(b"two")
                await until(lambda: "too many open files" in caplog.text)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                for hog in hogs:
                    os.close(hog)
            spare.settimeout(10)
            assert await asyncio.to_thread(spare.recv, 10) == b"two"


# ------------------------------------------------------------------------------------------------ TLS


async def test_tls_is_done_before_a_connection_is_yielded_and_a_silent_client_holds_up_nobody(certs: CertSet) -> None:
    """V21, I36: it says `on`; the one that says nothing is dropped after the listener's deadline."""
    context = certs.server_context()
    async with listen("127.0.0.1:0", secure_transport="on", tls=context, connect_timeout=0.5) as listener:
        with dial(listener.local_address) as silent:
            dialed = connect(listener.local_address, secure_transport="on", tls=certs.client_context())
            socket = await anext(listener)
            await dialed.opened
            assert socket.secure_transport == "on"
            assert socket.tls_info is not None
            with pytest.raises(UpgradeError, match="Cannot startTls on a TLS socket"):
                socket.start_tls()
            sent = socket.writable.get_writer().write(BIG)
            reader = dialed.readable.get_reader()
            assert await reader.read_exactly(len(BIG)) == BIG
            await sent
            silent.settimeout(10)
            waiting = asyncio.create_task(listener.__anext__())
            assert await asyncio.to_thread(silent.recv, 100) == b""
            waiting.cancel()
        await dialed.close()


@pytest.mark.parametrize(
    ("speak", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "peer does not speak TLS"),
        (b"", "peer closed the connection during the TLS handshake"),
    ],
)
async def test_a_failed_handshake_is_logged_and_the_next_client_is_served(
    certs: CertSet, speak: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line, with who it was."""
    caplog.set_level(logging.INFO, "cfcat")
    async with listen("127.0.0.1:0", secure_transport="on", tls=certs.server_context()) as listener:
        with dial(listener.local_address) as client:
            client.sendall(speak)
            client.shutdown(stdlib.SHUT_WR)
            dialed = connect(listener.local_address, secure_transport="on", tls=certs.client_context())
            waiting = asyncio.create_task(listener.__anext__())
            await dialed.opened
            await waiting
            await until(lambda: words in caplog.text or listener._opening == [])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listener.__anext__(), 0.2)
            assert words in caplog.text
            assert f"127.0.0.1:{client.getsockname()[1]}" in caplog.text
        await dialed.close()


async def upgraded_pair(listener: Listener, certs: CertSet) -> tuple[Socket, Socket]:
    """Both ends after a STARTTLS by hand: the client's, the server's."""
    dialed = connect(listener.local_address, secure_transport="starttls", tls=certs.client_context())
    accepted = await listener.accept()
    assert accepted.secure_transport == "starttls"
    await dialed.writable.get_writer().write(b"STARTTLS\r\n")
    reader = accepted.readable.get_reader()
    assert await reader.read() == b"STARTTLS\r\n"
    await accepted.writable.get_writer().write(b"220 go\r\n")
    assert await dialed.readable.get_reader().read() == b"220 go\r\n"
    return dialed.start_tls("localhost"), accepted


@pytest.mark.parametrize("early", [False, True], ids=["", "the hello is there first"])
async def test_an_accepted_socket_upgrades_as_the_server(certs: CertSet, early: bool) -> None:
    """The ClientHello may have come before `start_tls()` is called: it came behind our last write."""
    async with listen("127.0.0.1:0", secure_transport="starttls", tls=certs.server_context()) as listener:
        dialed, accepted = await upgraded_pair(listener, certs)
        if early:
            await until(lambda: accepted._wire.unread_bytes() > 0)
        upgraded = accepted.start_tls()
        assert accepted.latest is upgraded
        info, _ = await asyncio.gather(upgraded.opened, dialed.opened)
        assert info == await accepted.opened
        await accepted.closed
        assert accepted.upgraded
        writer = dialed.writable.get_writer()
        sent = writer.write(BIG), writer.close()
        assert await read_all(upgraded) == BIG
        await asyncio.gather(*sent)
        await dialed.close()


async def test_a_hello_that_was_read_and_given_back_is_the_handshake(certs: CertSet) -> None:
    """As a session does it that looks at what comes."""
    async with listen("127.0.0.1:0", secure_transport="starttls", tls=certs.server_context()) as listener:
        dialed, accepted = await upgraded_pair(listener, certs)
        reader = accepted.readable.get_reader() if not accepted.readable.locked else None
        assert reader is None
        await until(lambda: accepted._wire.unread_bytes() > 0)
        buffer = bytearray(65536)
        size = accepted._wire.receiving.take_into(memoryview(buffer))
        assert size
        accepted.readable.give_back(bytes(buffer[:size]))
        upgraded = accepted.start_tls()
        await asyncio.gather(upgraded.opened, dialed.opened)
        await dialed.close()


async def test_v13_what_was_unread_before_our_last_write_is_an_injection(certs: CertSet) -> None:
    """Behind the request in clear text: counted, and nothing of it comes under TLS."""
    async with listen("127.0.0.1:0", secure_transport="starttls", tls=certs.server_context()) as listener:
        with dial(listener.local_address) as client:
            accepted = await listener.accept()
            client.sendall(b"STARTTLS\r\nEVIL\r\n")
            reader = accepted.readable.get_reader()
            assert await reader.read_until(b"\r\n") == b"STARTTLS\r\n"
            await accepted.writable.get_writer().write(b"220 go\r\n")
            with pytest.raises(UpgradeError, match="6 bytes of clear text were unread"):
                await accepted.start_tls().opened


async def test_upgrade_needs_starttls() -> None:
    """In clear text it is refused with the same words as for `connect()`."""
    async with listen("127.0.0.1:0") as listener:
        with dial(listener.local_address):
            accepted = await listener.accept()
            with pytest.raises(UpgradeError, match="must be set to 'starttls'"):
                accepted.start_tls()


# ------------------------------------------------------------------------------ make_server_context()


def own(certs: CertSet, kind: Kind = "good") -> dict[str, Any]:
    return {"cert": certs[kind].chain, "key": certs[kind].key}


async def handshake(context: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> tuple[Any, Any]:
    """What became of it at the server and at the client: TlsInfo, or the error."""
    async with listen("127.0.0.1:0", secure_transport="on", tls=context) as listener:
        dialed = connect(
            listener.local_address, secure_transport="on", tls=client, expected_server_hostname=name, connect_timeout=10
        )
        accepted = await listener.accept()
        results: list[Any] = []
        for socket in (accepted, dialed):
            try:
                await socket.opened
                if socket is dialed:  # TLS 1.3 tells a client of a refusal with the first read
                    await socket.writable.get_writer().write(b"x")
                results.append(socket.tls_info)
            except TlsError as error:
                results.append(error)
        with contextlib.suppress(TlsError, LostError):
            await dialed.close()
        return results[0], results[1]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "mail.example", "10.0.0.7"])
async def test_a_certificate_is_made_for_this_run_and_strict_clients_verify_it(tmp_path: Path, name: str) -> None:
    """For local names and those given, addresses as addresses; Python 3.13's strict checks pass; it lives a week."""
    ca = tmp_path / "ca.pem"
    context = make_server_context(names=["mail.example", "10.0.0.7"], ca_out=ca)
    client = ssl.create_default_context(cafile=str(ca))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    _, info = await handshake(context, client, name)
    assert info.verified
    not_after = datetime.datetime.fromisoformat(info.chain[0].not_after)
    assert not_after < datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=8)
    assert b"PRIVATE" not in ca.read_bytes()


async def test_no_key_is_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even into a temporary file."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    make_server_context()
    assert os.listdir(tmp_path) == []


async def test_where_there_are_no_files_in_memory_the_key_is_encrypted_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS: what is in the file for a moment is of no use to anybody else."""
    monkeypatch.delattr(os, "memfd_create")
    seen: list[bytes] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, path: str, *arguments: Any, **keywords: Any) -> None:
        seen.append(Path(path).read_bytes())
        load(self, path, *arguments, **keywords)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    ca = tmp_path / "ca.pem"
    context = make_server_context(ca_out=ca)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in seen[0]
    assert b"EC PRIVATE" not in seen[0]
    _, info = await handshake(context, make_tls_context(cacert=ca))
    assert info.verified


async def test_clients_without_a_certificate_of_client_ca_are_refused(certs: CertSet) -> None:
    """CertificateError, at the server, in words; one with a certificate is let in, and known."""
    context = make_server_context(**own(certs), client_ca=certs.ca)
    refused, _ = await handshake(context, certs.client_context())
    assert isinstance(refused, CertificateError)
    assert "the client sent no certificate" in str(refused)
    with_one = make_tls_context(cacert=certs.ca, cert=certs.client.chain, key=certs.client.key)
    info, _ = await handshake(context, with_one)
    assert info.verified
    assert info.chain[0].subject.endswith("CN=client")
    foreign = make_tls_context(cacert=certs.ca, **own(certs, "untrusted"))
    refused, _ = await handshake(context, foreign)
    assert isinstance(refused, CertificateError)


async def test_the_server_name_is_what_the_client_asks_for(certs: CertSet) -> None:
    """SNI, of which the `ssl` module tells a server nothing; an address is none, and nobody has to be asked for."""
    context = make_server_context(**own(certs))
    for name, told in (("localhost", "localhost"), ("127.0.0.1", None)):
        info, _ = await handshake(context, certs.client_context(), name)
        assert (info.server_name, info.verified, info.chain) == (told, False, ())


async def test_a_certificate_that_clients_may_leave_out_is_verified_where_there_is_one(certs: CertSet) -> None:
    """CERT_OPTIONAL, with a context of the caller's."""
    context = certs.server_context()
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(certs.ca)
    info, _ = await handshake(context, certs.client_context())
    assert not info.verified
    with_one = make_tls_context(cacert=certs.ca, cert=certs.client.chain, key=certs.client.key)
    info, _ = await handshake(context, with_one)
    assert info.verified


async def test_a_client_that_does_not_trust_us_is_named(certs: CertSet) -> None:
    """Its alert, in words."""
    seen, _ = await handshake(make_server_context(), certs.client_context())
    assert isinstance(seen, TlsError)
    assert "the client does not trust our certificate (alert unknown ca)" in str(seen)


async def test_alpn_is_selected_and_no_protocol_in_common_is_no_failure(certs: CertSet) -> None:
    """Ours is the order; the client goes on without where it has none of them."""
    context = make_server_context(**own(certs), alpn=["h2", "http/1.1"])
    info, _ = await handshake(context, make_tls_context(cacert=certs.ca, alpn=["http/1.1", "h2"]))
    assert info.alpn == "h2"
    info, _ = await handshake(context, make_tls_context(cacert=certs.ca, alpn=["smtp"]))
    assert info.alpn is None


async def test_no_version_in_common_is_said(certs: CertSet) -> None:
    """On our side, too."""
    context = make_server_context(**own(certs), tls_min="1.3")
    seen, _ = await handshake(context, make_tls_context(cacert=certs.ca, tls_max="1.2"))
    assert isinstance(seen, TlsError)


def test_a_text_is_no_list() -> None:
    """Of a text each letter would count for a name of its own."""
    with pytest.raises(TypeError, match=r"^names must be a list, not str: \['mail.example'\]$"):
        make_server_context(names="mail.example")
    for make in (make_tls_context, make_server_context):
        with pytest.raises(TypeError, match=r"^alpn must be a list, not str: \['h2'\]$"):
            make(alpn="h2")


def test_what_cannot_be_used_is_said(certs: CertSet, tmp_path: Path) -> None:
    """A key without its certificate, no certificate at all, a name that none can have, a file that is no PEM."""
    with pytest.raises(OptionsError, match="a key needs its certificate"):
        make_server_context(key=certs["good"].key)
    with pytest.raises(ClientCertificateError, match="no such file"):
        make_server_context(cert=tmp_path / "none.pem")
    with pytest.raises(CaFileError):
        make_server_context(**own(certs), client_ca=__file__)
    with pytest.raises(OptionsError, match="not usable in a certificate"):
        make_server_context(names=["a..b \x00"])
    with pytest.raises(FileNotFoundError):
        make_server_context(ca_out=tmp_path / "no" / "folder")
