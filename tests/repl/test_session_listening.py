"""A session that accepts: its prompt, the next client, and STARTTLS by hand and by protocol as the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cfcat import Socket, SocketOptions, connect
from cfcat.core.address import Target, parse_address
from cfcat.core.clients import Clients, ListenTo
from cfcat.errors import CommandError, ConnectError, ConnectTimeout, DialogError, InjectionError, ListenError, TlsError
from cfcat.protocols import PROTOCOLS
from cfcat.protocols.upgrade import open_upgraded
from cfcat.record.events import Accepted, Listening, SpeaksTls
from cfcat.record.kept import Event
from cfcat.record.subscribers import Subscribers
from cfcat.repl.session import PromptState, Session
from cfcat.repl.settings import Settings
from tests.helpers.certs import CertSet
from tests.helpers.links import until
from tests.repl.conftest import Recorder, trusting


class Told:
    """A subscriber that keeps events, and the address."""

    wants_bytes = False

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Listening):
            if self.address.done():
                self.address = asyncio.get_running_loop().create_future()
            self.address.set_result(event.addresses[0])


class Listened:
    """A session that listens, its face, and what it told."""

    def __init__(self, *, keep: bool = False, wait_s: float | None = None, **more: Any) -> None:
        own = {name: more.pop(name) for name in list(more) if name in Settings.__slots__}
        self.face = Recorder()
        self.told = Told()
        events = Subscribers([self.told])
        options = SocketOptions(**{"connect_timeout": 10.0, "allow_half_open": False, **more})
        to = ListenTo(parse_address("127.0.0.1:0"), keep=keep, wait_s=wait_s)
        clients = Clients(to, events)
        self.session = Session("127.0.0.1:0", options, self.face, Settings(**own), events=events, clients=clients)

    async def open(self, **options: Any) -> Socket:
        """Open the session, with a client that dials."""
        opening = asyncio.create_task(self.session.open())
        client = connect(await self.told.address, SocketOptions(**options))
        await opening
        return client


@contextlib.asynccontextmanager
async def listened(**more: Any) -> AsyncIterator[Listened]:
    made = Listened(**more)
    try:
        yield made
    finally:
        await made.session.shut()


async def test_prompt_says_from_whom_and_lines_go_both_ways() -> None:
    """`from 127.0.0.1:51544`, and what is told of it."""
    async with listened() as made:
        client = await made.open()
        local = (await client.opened).local_address
        assert made.session.prompt_state == PromptState(f"from {local}", "", ())
        assert made.session.banner.startswith(f"accepted {local}; ")
        assert Accepted(local, await made.told.address) in made.told.events
        await made.session.execute("220 hello")
        reader, writer = client.readable.get_reader(), client.writable.get_writer()
        assert await reader.read() == b"220 hello\r\n"
        await writer.write(b"EHLO me\r\n")
        await made.face.until_received(b"EHLO me\r\n")
        await writer.close()
        await made.face.until(lambda: made.session.is_closed)
        await client.close()


async def test_a_second_client_is_refused_and_open_waits_for_the_next() -> None:
    """Without `keep` the listener is closed once a client has come; `:open` listens again."""
    async with listened() as made:
        first = await made.open()
        address = await made.told.address
        with pytest.raises(ConnectError):
            await connect(address).opened
        opening = asyncio.create_task(made.session.execute(":open"))
        await until(lambda: len([event for event in made.told.events if isinstance(event, Listening)]) == 2)
        second = connect(await made.told.address)
        await opening
        assert made.face.notices[-1] == f"accepted {(await second.opened).local_address}"
        await made.session.execute("hello")
        assert await second.readable.get_reader().read() == b"hello\r\n"
        await asyncio.gather(first.close(), second.close())


async def test_a_client_that_speaks_tls_to_clear_text_is_told_of() -> None:
    """Once, whatever its pieces are; what it says is shown all the same, and under TLS it is no news."""
    hello = b"\x16\x03\x01\0\x05hello"
    async with listened() as made:
        client = await made.open()
        writer = client.writable.get_writer()
        for at in (slice(1), slice(1, None)):
            await writer.write(hello[at])
            await made.face.until_received(hello[: at.stop])
        await writer.write(hello)
        await made.face.until_received(hello * 2)
        assert made.told.events.count(SpeaksTls()) == 1
        await client.close()


async def test_with_keep_clients_wait_in_the_backlog() -> None:
    """Who came meanwhile is next."""
    async with listened(keep=True) as made:
        first = await made.open()
        second = connect(await made.told.address)
        local = (await second.opened).local_address
        await made.session.execute(":open")
        assert made.session.prompt_state.address == f"from {local}"
        assert len([event for event in made.told.events if isinstance(event, Listening)]) == 1
        await asyncio.gather(first.close(), second.close())


async def test_open_takes_no_address_where_the_session_listens() -> None:
    """Such a session accepts clients, and dials nobody."""
    async with listened() as made:
        client = await made.open()
        for line in (":open localhost:80", ":open --tls on", ":open --starttls smtp", ":open --tls on -k"):
            with pytest.raises(CommandError, match="this session listens"):
                await made.session.execute(line)
        assert not made.session.is_closed  # what is open stays open
        await client.close()


async def test_the_next_client_is_accepted_as_open_says_and_keep_or_not(certs: CertSet) -> None:
    """Under TLS, or in clear text, although the listener is the same."""
    for keep in (False, True):
        async with listened(keep=keep, secure_transport="starttls", tls=certs.server_context()) as made:
            first = await made.open()
            opening = asyncio.create_task(made.session.execute(":open --tls on"))
            if not keep:
                await until(lambda: len([event for event in made.told.events if isinstance(event, Listening)]) == 2)
            context = certs.client_context()
            second = connect(
                await made.told.address, secure_transport="on", tls=context, expected_server_hostname="localhost"
            )
            await opening
            await second.opened
            assert made.session.tls_version == "TLSv1.3"
            await asyncio.gather(first.close(), second.close())


async def test_a_wait_that_is_cancelled_listens_no_more() -> None:
    """Ctrl-C at `:open`."""
    async with listened() as made:
        client = await made.open()
        opening = asyncio.create_task(made.session.execute(":open"))
        await until(lambda: made.session.connection is None and made.told.address.done())
        address = await made.told.address
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        with pytest.raises(ConnectError):
            await connect(address).opened
        await client.close()


async def test_nobody_comes_in_time() -> None:
    """--connect-timeout, where it is given."""
    async with listened(wait_s=0.05) as made:
        with pytest.raises(ConnectTimeout, match=r"no client came within 0\.05 s"):
            await made.session.open()


async def test_a_secret_for_a_client_on_a_unix_socket_is_sent_unasked(tmp_path: Path) -> None:
    """It never leaves this machine, as on loopback; such a client has no address."""
    path = tmp_path / "door"
    async with listened() as made:
        made.session.reaching._clients._to = ListenTo(Target(f"unix:{path}", "", 0))  # type: ignore[union-attr]
        opening = asyncio.create_task(made.session.open())
        await made.told.address
        reader, writer = await asyncio.open_unix_connection(path)
        await opening
        await made.session.execute("PASS secret")
        assert await reader.readline() == b"PASS secret\r\n"
        assert made.face.questions == []
        writer.close()
        await writer.wait_closed()


async def test_an_address_in_use_is_an_error_of_open() -> None:
    """And said."""
    async with listened() as made:
        client = await made.open()
        async with listened() as other:
            other.session.reaching._clients._to = ListenTo(parse_address((await client.opened).local_address))  # type: ignore[union-attr]
            with pytest.raises(ListenError, match="address already in use"):
                await other.session.open()
        await client.close()


# ------------------------------------------------------------------------------------- STARTTLS by hand


async def by_hand(made: Listened, certs: CertSet) -> Socket:
    """Up to the go-ahead that was typed, and the client's TLS behind it."""
    client = await made.open(secure_transport="starttls", tls=trusting(certs))
    reader, writer = client.readable.get_reader(), client.writable.get_writer()
    await writer.write(b"STARTTLS\r\n")
    await made.face.until_received(b"STARTTLS\r\n")
    await made.session.execute("220 go ahead")
    assert await reader.read() == b"220 go ahead\r\n"
    return client.start_tls("localhost")


async def test_the_clients_hello_is_held_and_starttls_takes_it(certs: CertSet) -> None:
    """It comes behind the go-ahead, before anybody can type `:starttls`; it is not shown as data."""
    async with listened(secure_transport="starttls", tls=certs.server_context()) as made:
        client = await by_hand(made, certs)
        await made.face.until(lambda: any("the client begins TLS" in notice for notice in made.face.notices))
        assert made.face.received == b"STARTTLS\r\n"
        await made.session.execute(":starttls")
        await client.opened
        assert made.session.prompt_state.tls == "tls"
        await made.session.execute("250 under TLS")
        assert await client.readable.get_reader().read() == b"250 under TLS\r\n"
        await client.close()


async def test_starttls_may_be_typed_before_the_hello_comes(certs: CertSet) -> None:
    """Then the handshake waits for it."""
    async with listened(secure_transport="starttls", tls=certs.server_context()) as made:
        client = await made.open(secure_transport="starttls", tls=trusting(certs))
        await made.session.execute("220 go ahead")
        assert await client.readable.get_reader().read() == b"220 go ahead\r\n"
        upgrading = asyncio.create_task(made.session.execute(":starttls"))
        await asyncio.sleep(0)
        secure = client.start_tls("localhost")
        await asyncio.gather(secure.opened, upgrading)
        assert made.session.tls_version == "TLSv1.3"
        await secure.close()


async def test_another_line_lets_the_held_bytes_go_as_data(certs: CertSet) -> None:
    """What looks like TLS need not be meant as that."""
    async with listened(secure_transport="starttls", tls=certs.server_context()) as made:
        client = await made.open()
        await made.session.execute("go")
        assert await client.readable.get_reader().read() == b"go\r\n"
        await client.writable.get_writer().write(b"\x16\x03\x01 just bytes")
        await made.face.until(lambda: any("the client begins TLS" in notice for notice in made.face.notices))
        assert made.face.received == b""
        await made.session.execute("I do not want TLS")
        assert made.face.received == b"\x16\x03\x01 just bytes"
        await client.close()


async def test_what_is_held_is_shown_when_the_client_ends() -> None:
    """Nothing is lost."""
    async with listened(secure_transport="starttls") as made:
        client = await made.open()
        await made.session.execute("go")
        writer = client.writable.get_writer()
        await writer.write(b"\x16\x03\x01 the end")
        await writer.close()
        await made.face.until_received(b"\x16\x03\x01 the end")
        await client.close()


async def test_a_failed_handshake_is_the_end_and_says_why(certs: CertSet) -> None:
    """The client's alert, in words."""
    async with listened(secure_transport="starttls", tls=certs.server_context("untrusted")) as made:
        client = await by_hand(made, certs)
        with pytest.raises(TlsError, match="the client does not trust our certificate"):
            await made.session.execute(":starttls")
        with pytest.raises(TlsError):
            await client.opened
        assert made.session.is_closed


# --------------------------------------------------------------------------------- STARTTLS by protocol


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
async def test_every_protocol_upgrades_between_two_of_ours(protocol: str, certs: CertSet) -> None:
    """`-l --starttls PROTO` against `--starttls PROTO`, over sockets: then both speak under TLS."""
    options = SocketOptions(
        secure_transport="starttls",
        tls=trusting(certs),
        connect_timeout=10,
        expected_server_hostname="localhost",
    )
    async with listened(secure_transport="starttls", tls=certs.server_context(), starttls=protocol) as made:
        opening = asyncio.create_task(made.session.open())
        address = await made.told.address
        client = await open_upgraded(connect(address, options), address, options, PROTOCOLS[protocol])
        await opening
        await made.session.execute("hello")
        assert await client.readable.get_reader().read() == b"hello\r\n"
        await client.close()


@pytest.mark.parametrize("protocol", ["mysql", "smtp", "postgres", "ldap"])
async def test_clear_text_behind_the_request_is_an_injection_or_no_handshake(protocol: str, certs: CertSet) -> None:
    """SEC-R1, as the server. MySQL has no answer to the request, so there the bytes are taken for TLS, which fails."""
    said = {
        "mysql": bytes.fromhex("20000001 85ae7f00 00000001 21") + bytes(23),
        "smtp": b"STARTTLS\r\n",
        "postgres": bytes.fromhex("00000008 04d2162f"),
        "ldap": bytes.fromhex("301d 020101 7718 8016") + b"1.3.6.1.4.1.1466.20037",
    }[protocol]
    async with listened(secure_transport="starttls", tls=certs.server_context(), starttls=protocol) as made:
        opening = asyncio.create_task(made.session.open())
        client = connect(await made.told.address)
        await client.writable.get_writer().write(said + b"EVIL")
        with pytest.raises(TlsError if protocol == "mysql" else InjectionError):
            await opening
        assert b"EVIL" not in made.face.received
        client.abort()


async def test_who_leaves_hears_the_answer(certs: CertSet) -> None:
    """QUIT before STARTTLS: 221, and an error that says so."""
    async with listened(secure_transport="starttls", tls=certs.server_context(), starttls="smtp") as made:
        opening = asyncio.create_task(made.session.open())
        client = connect(await made.told.address)
        await client.writable.get_writer().write(b"QUIT\r\n")
        with pytest.raises(DialogError, match=r"the client left without asking for TLS \(QUIT\)"):
            await opening
        assert any(notice == "> 221 2.0.0 Bye" for notice in made.face.notices)
        client.abort()


async def test_starttls_with_a_protocol_in_a_session_plays_the_servers_half(certs: CertSet) -> None:
    """`:starttls smtp` greets, and leads a client to TLS."""
    options = SocketOptions(secure_transport="starttls", tls=trusting(certs), expected_server_hostname="localhost")
    async with listened(secure_transport="starttls", tls=certs.server_context()) as made:
        opening = asyncio.create_task(made.session.open())
        address = await made.told.address
        upgrading = asyncio.create_task(open_upgraded(connect(address, options), address, options, PROTOCOLS["smtp"]))
        await opening
        await made.session.execute(":starttls smtp")
        client = await upgrading
        assert made.session.protocol == "smtp"
        await client.close()
