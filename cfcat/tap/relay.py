"""One connection of the tap: a socket that was accepted, one that is dialed, and a flow each way.

What a side does is done to the other: its bytes are passed on, and its ends as they are (`_pass_end`). When the client
begins TLS, both sides are upgraded, the server's first: not a byte of the client's TLS goes anywhere before the
server's certificate is verified.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from cfcat.core.codec import Buffer
from cfcat.core.job import Job
from cfcat.core.loop import running_loop
from cfcat.core.options import SocketOptions
from cfcat.core.sockets import Socket, dial
from cfcat.core.waiting import in_time, settled, while_moving
from cfcat.errors import LOST, ConnectTimeout, LostError, SocketError, TlsError, TruncatedError, reason_of
from cfcat.pipe.flow import Flow, PeerSink, PeerSource, Sink
from cfcat.protocols.wrapper import HandshakeWrapper
from cfcat.record.events import Direction, Moved, Moving, Stopped
from cfcat.record.sides import ClientTls, Side, SideEnd, SideEnded
from cfcat.record.subscribers import Subscribers
from cfcat.tap.client import BeginsTls, ClientSource, Turn
from cfcat.tap.hello import Hello
from cfcat.tap.side import TapSide

if TYPE_CHECKING:
    import ssl

    from cfcat.core.address import Target

__all__ = ["Contexts", "Relay", "TapTls"]

# RFC 8446 §6.2: fatal, internal_error: the reason is the server's, and no alert is for that.
ALERT = b"\x15\x03\x03\x00\x02\x02\x50"


class TapTls(NamedTuple):
    """Which side has TLS. `server`: "follow": as soon as the client has. `client`: "off": its TLS is not looked at.

    `dialog`: the title of the protocol whose dialog is to come before TLS; None: whatever does.
    """

    server: Literal["follow", "on", "off"] = "follow"
    client: Literal["auto", "on", "off"] = "auto"
    dialog: str | None = None


class Contexts(Protocol):
    """Makes the TLS contexts of both sides."""

    def for_server(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        """To offer these protocols to the server."""

    def for_client(self, server_name: str | None, alpn: str | None) -> ssl.SSLContext:
        """With a certificate for this name too, and to select this protocol; None: there is none."""


class Relay:
    """Relays between a client and the server at `target`, and tells `events` of all that happens.

    `options`: how to dial; `expected_server_hostname` takes the place of what the client asks for. `slowed` makes a
    sink of one that may be full for a reason of its own: whoever shows the bytes; None: nobody does.
    """

    def __init__(
        self,
        client: Socket,
        target: Target,
        options: SocketOptions,
        tls: TapTls,
        contexts: Contexts | None,
        events: Subscribers,
        *,
        slowed: Callable[[Sink], Sink] | None = None,
    ) -> None:
        self._client = client
        self._server: Socket | None = None
        self._target = target
        self._options = options._replace(trace=events.trace)
        self._tls = tls
        self._contexts = contexts
        self._events = events
        self._wants_bytes = events.wants_bytes
        self._slowed = slowed
        self._moved: dict[Direction, int] = {"sent": 0, "received": 0}
        self._flows: dict[Direction, Flow] = {}
        self._passing: dict[Side, Job[None]] = {}  # what each side says
        self._failure: SocketError | None = None  # what broke a side, or cut it short
        self._turn = Turn()

    @property
    def sent_bytes(self) -> int:
        """Bytes of the application from the client so far."""
        return self._bytes("sent")

    @property
    def received_bytes(self) -> int:
        """Bytes of the application from the server so far."""
        return self._bytes("received")

    def _bytes(self, direction: Direction) -> int:
        flow = self._flows.get(direction)
        return self._moved[direction] + (0 if flow is None else flow.moved_bytes)

    async def run(self) -> None:
        """Relay until both sides have ended.

        Raises:
            ConnectError, ConnectTimeout: the server is not reached; the client is reset.
            TlsError, CertificateError, InjectionError: no TLS with one side; the other is told as far as it can be.
            DialogError, InjectionError: the server had not agreed to TLS, or went on behind that; both are reset.
            LostError, TlsError: a side broke the connection; the other was reset, behind all that had come before.
            TruncatedError: a side ended TLS without close_notify, and so did we to the other.
        """
        try:
            await self._open()
            self._events.tell(Moving(self))
            while (hello := await self._move()) is not None:
                await self._upgrade(hello)
        except BaseException as error:
            self._client.latest.abort()
            if self._failure is not None and isinstance(error, (TlsError, LostError)):
                raise self._failure from error  # this is how the other side takes it
            raise
        finally:
            self._events.tell(Stopped(self.sent_bytes, self.received_bytes))
            if self._server is not None:
                self._server.latest.abort()
        if self._failure is not None:
            raise self._failure

    # ---- opening

    async def _open(self) -> None:
        hello = await self._hello_in_time() if self._tls.client == "on" else None
        await self._dial(hello)
        if hello is not None:
            await self._secure_client(hello)

    async def _hello_in_time(self) -> Hello:
        """The client has to begin with TLS."""
        limit_s = self._options.connect_timeout
        try:
            return await in_time(limit_s, self._expect_hello())
        except TimeoutError as error:
            text = f"{self._client.peer}: the client did not begin TLS within {limit_s:g} s"
            raise ConnectTimeout(text, text) from error

    async def _expect_hello(self) -> Hello:
        reader = self._client.readable.get_reader()
        source = ClientSource(self._client.readable, must=True)
        try:
            await Flow(source, _Nowhere()).run()
        except BeginsTls as begins:
            return begins.hello
        finally:
            source.close()
            reader.release_lock()
        error = TlsError("peer closed the connection during the TLS handshake", reason="EOF")
        error.by_client = True
        raise error

    async def _dial(self, hello: Hello | None) -> None:
        """Connect to the server, with TLS where that does not wait for the client's."""
        options = self._options._replace(secure_transport="starttls")
        if self._tls.server == "on":
            assert self._contexts is not None
            context = self._contexts.for_server(() if hello is None else hello.alpn)
            options = options._replace(
                secure_transport="on", tls=context, expected_server_hostname=self._server_name(hello)
            )
        server = self._server = dial(self._target, options, relays=True)
        try:
            await server.opened
        except TlsError:
            if hello is not None:
                await self._refuse_client(hello)
            raise

    def _server_name(self, hello: Hello | None) -> str | None:
        """Whom the server's certificate has to be for; None: the target's host."""
        asked = None if hello is None else hello.server_name
        return self._options.expected_server_hostname or asked

    # ---- upgrade

    async def _upgrade(self, hello: Hello) -> None:
        """Put TLS on both sides, or on the client's alone where the server has its own or is to have none."""
        if self._tls.dialog is not None:
            self._turn.check(self._tls.dialog)
        if self._tls.server == "follow":
            assert self._contexts is not None
            assert self._server is not None
            wrapper = HandshakeWrapper() if hello.wrapped else None
            context = self._contexts.for_server(hello.alpn)
            self._server = self._server.start_tls(self._server_name(hello), tls=context, wrapper=wrapper)
            try:
                await self._server.opened
            except SocketError as error:
                if error.silent_in == "upgrade" and not self.received_bytes:
                    error.silent_in = "tapped handshake"
                await self._refuse_client(hello)
                raise
        await self._secure_client(hello)

    async def _secure_client(self, hello: Hello) -> None:
        assert self._contexts is not None
        assert self._server is not None
        info = self._server.tls_info
        context = self._contexts.for_client(hello.server_name, None if info is None else info.alpn)
        wrapper = HandshakeWrapper("client") if hello.wrapped else None
        self._client = self._client.start_tls(tls=context, wrapper=wrapper)
        try:
            await self._client.opened
        except SocketError as error:
            error.client = self._client.peer
            raise
        info = self._client.tls_info
        assert info is not None
        self._events.tell(ClientTls(info.version, info.cipher, hello.server_name or "", info.alpn or ""))

    async def _refuse_client(self, hello: Hello) -> None:
        """Answer the ClientHello with an alert, and end in order."""
        alert = HandshakeWrapper("client").wrap(ALERT) if hello.wrapped else ALERT
        with contextlib.suppress(SocketError):
            self._client.writable.get_writer().write(alert)
            await while_moving(self._client.close(), lambda: self._client.moved_bytes)

    # ---- moving

    async def _move(self) -> Hello | None:
        """Move bytes both ways and pass ends on, until both sides have ended (None), or the client begins TLS."""
        assert self._server is not None
        looks = self._tls.client != "off" and self._client.secure_transport != "on"
        with TapSide("client", self._client) as client, TapSide("server", self._server) as server:
            said = ClientSource(self._client.readable) if looks else None
            up = self._flow("sent", said or PeerSource(self._client.readable), client, server)
            down = self._flow("received", PeerSource(self._server.readable), server, client, said)
            loop = running_loop()
            passing = [
                (client, Job(loop, self._pass(up, client, server))),
                (server, Job(loop, self._pass(down, server, client))),
            ]
            jobs = [job for _, job in passing]
            self._passing = {side.name: job for side, job in passing}
            try:
                while not all(job.done() for job in jobs):
                    if any(side.is_broken and job.done() for side, job in passing):
                        break  # it has ended in order before, and so nobody reads from it
                    waits = [*jobs, client.socket.over, server.socket.over]
                    await settled([each for each in waits if not each.done()])
                    for job in jobs:
                        if job.done():
                            job.result()
            except BeginsTls as begins:
                return begins.hello
            finally:
                for job in jobs:
                    job.cancel()
                if said is not None:
                    said.close()
                self._moved = {"sent": self.sent_bytes, "received": self.received_bytes}
                self._flows, self._passing = {}, {}
            await self._close(client, server)
        return None

    def _flow(
        self, direction: Direction, source: PeerSource, near: TapSide, far: TapSide, said: ClientSource | None = None
    ) -> Flow:
        """`said`: whom to tell that the server has spoken."""
        is_secure = near.is_secure or far.is_secure

        def through(chunk: memoryview) -> Buffer:
            if said is not None:
                said.server_spoke()
            if self._tls.dialog is not None:
                self._turn.take(direction, bytes(chunk))
            if self._wants_bytes:
                self._events.tell(Moved(direction, bytes(chunk), is_secure))
            return chunk

        sink: Sink = PeerSink(far.socket.writable)
        flow = self._flows[direction] = Flow(source, sink if self._slowed is None else self._slowed(sink), through)
        return flow

    async def _pass(self, flow: Flow, near: TapSide, far: TapSide) -> None:
        """Move all that a side says, and pass its end on. Raises what broke it, when the other has been reset."""
        try:
            await flow.run()
        except SocketError as error:
            if error is near.socket.error:
                await self._pass_break(near, error, far)
            else:
                await self._end_writer(near, far)
            return
        how: SideEnd = "cut" if near.socket.was_cut else "close_notify" if near.is_secure else "end"
        self._events.tell(SideEnded(near.name, how))
        if how == "cut":
            self._failure = self._failure or _truncated(near)
        if how == "cut" and not far.is_secure:
            await far.reset()  # in clear text the part would look like the whole
            return
        if how != "cut":
            near.had_bytes = self._said_to(near)
            await far.end()
        if how == "close_notify":
            await self._pass_fin(near, far)
        elif far.is_secure:
            far.send_fin()

    async def _end_writer(self, near: TapSide, far: TapSide) -> None:
        """The other side broke, and this one goes on writing to it: that is told by its own flow, or by `_close`, but
        not to somebody who takes nothing of what it had said before.
        """
        if not await while_moving(self._passing[far.name], lambda: near.socket.moved_bytes):
            assert isinstance(far.socket.error, SocketError)
            await self._pass_break(far, far.socket.error, near)

    async def _pass_fin(self, near: TapSide, far: TapSide) -> None:
        """Pass on the FIN that comes behind close_notify."""
        came = near.socket.until_fin()
        await settled([came, near.socket.over])
        if not came.done():
            return
        if (error := came.result()) is not None:
            await self._pass_break(near, LostError(detail=reason_of(error)), far)
            return
        near.has_left = True
        self._events.tell(SideEnded(near.name, "fin"))
        if far.is_secure:
            far.send_fin()

    def _said_to(self, side: TapSide) -> int:
        return self.received_bytes if side.name == "client" else self.sent_bytes

    def _is_done_with(self, near: TapSide, far: TapSide) -> bool:
        """Have both ended in order, and had the near side all data by then? It may leave without taking our end, which
        under TLS is data to TCP and meets a reset: psql closes like that.
        """
        return far.had_bytes is not None and near.had_bytes == self._said_to(near)

    async def _pass_break(self, near: TapSide, error: SocketError, far: TapSide) -> None:
        """A side is gone: the other gets what it said before, and then a reset. Raises the error, unless nothing can be
        lost any more.
        """
        how: SideEnd = "broken" if isinstance(error, TlsError) else "reset"
        self._events.tell(SideEnded(near.name, how, error.detail or error.message))
        await far.reset()
        if self._is_done_with(near, far):
            near.has_left = True
            return
        if near.name == "client":
            error.client = near.socket.peer
        raise error

    async def _close(self, client: TapSide, server: TapSide) -> None:
        """Both have ended, or one was found to be gone when it was written to."""
        for near, far in ((client, server), (server, client)):
            if near.is_broken and not (near.has_left and self._is_done_with(near, far)):
                assert isinstance(near.socket.error, SocketError)
                await self._pass_break(near, near.socket.error, far)
        for side in (client, server):
            if not await while_moving(side.socket.close(), lambda socket=side.socket: socket.moved_bytes):  # type: ignore[misc]
                side.socket.abort()


def _truncated(near: TapSide) -> TruncatedError:
    error = TruncatedError(LOST, f"the {near.name} ended the connection without TLS close_notify")
    if near.name == "client":
        error.client = near.socket.peer
    return error


class _Nowhere:
    """A sink for what is only looked at."""

    def give(self, chunk: Buffer = b"") -> bool:
        return True

    def watch(self, callback: Callable[[], object]) -> None:
        """There is always room."""

    def unwatch(self) -> None:
        """As above."""

    def is_full(self) -> bool:
        return False
