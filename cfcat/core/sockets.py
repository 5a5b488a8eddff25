"""`connect()` and `Socket`: the API, and the one place where lifecycle, streams and wire meet.

What the application calls and what the wire sees become events; the lifecycle answers with effects; each action is
carried out by one method here, which is given the reason and does not look at the state. Source: connect-semantics
rules A1, N, C, D, S; differences V1-V3, V5-V8, V12, V13, V16.
"""

from __future__ import annotations

import contextlib
import socket as stdlib
import time
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from cfcat.core.address import SocketAddress, Target, format_address, parse_address, without_zone
from cfcat.core.dial import Dialer, blocked, connect_failed, direct, failure_message
from cfcat.core.job import Job
from cfcat.core.lifecycle import FINAL, Action, Event, Lifecycle, Phase, Reason, WriteHalf
from cfcat.core.loop import running_loop
from cfcat.core.options import Changes, SecureTransport, SocketOptions, make_options
from cfcat.core.promise import Promise
from cfcat.core.readable import ReadableStream
from cfcat.core.receiving import Receiving
from cfcat.core.sending import Sending
from cfcat.core.streams import READER_RELEASED, SOCKET_CLOSED, WRITABLE_CLOSED, WRITER_RELEASED, Ended
from cfcat.core.waiting import in_time
from cfcat.core.wire import HandshakeWrapper, Wire
from cfcat.core.writable import WritableStream
from cfcat.errors import (
    ClosedError,
    ConnectTimeout,
    InjectionError,
    SocketError,
    TlsError,
    without_frames,
)

if TYPE_CHECKING:
    import ssl

    from cfcat.core.certificate import TlsInfo
    from cfcat.core.tls import TlsCodec
    from cfcat.core.workers import WorkersPolicy
    from cfcat.record.events import TraceEvent

__all__ = ["Socket", "SocketInfo", "adopt", "connect"]


class SocketInfo(NamedTuple):
    """What `opened` resolves with: both ends as `ip:port`, IPv6 in brackets (V1, not N2)."""

    remote_address: str
    local_address: str


def connect(
    address: str | SocketAddress,
    options: SocketOptions | Mapping[str, object] | None = None,
    **changes: Unpack[Changes],
) -> Socket:
    """Begin a connection and return its socket at once (A1). Call it inside a running event loop.

    `address` is `"host:port"`, IPv6 in brackets, or a `SocketAddress`. Options may be given as `SocketOptions`, as
    a mapping, as keywords, or both (keywords win). Only a `policy` limits the number of sockets (O7, P6); without
    `connect_timeout` an attempt (N9) or a handshake (S16) can hang until the network gives up.

    Raises:
        AddressError: the address cannot be parsed (A2-A8); looked at before the options (A13).
        OptionsError: an option has an impossible value (O2, O4).
        TypeError: an argument has the wrong type (V15).
        RuntimeError: there is no running event loop (A15).
    """
    target = parse_address(address)
    resolved = make_options(options, changes)
    running_loop()
    if resolved.secure_transport != "off" and resolved.tls is None:
        from cfcat.core.context import default_context  # lazy: ssl

        resolved = resolved._replace(tls=default_context())
    return Socket._dialing(target, resolved, direct(family=resolved.address_family, policy=resolved.policy))


def adopt(sock: stdlib.socket, target: Target, options: SocketOptions, info: SocketInfo) -> Socket:
    """Make a socket over a connection that a listener has accepted, non-blocking: its TLS is the server's.

    In clear text it is open at once; under TLS when the handshake is done, for which `options.connect_timeout` holds.
    It owns the OS socket from now on. `target`: what messages call the client. `info`: what `opened` resolves with.
    """
    return Socket._adopting(sock, target, options, info)


class Socket:
    """One connection, or its part before or after an upgrade. Made by `connect()` and `start_tls()`.

    `readable` and `writable` are its streams; they work before `opened` already. As a context manager it is
    closed in order at the end of the block, and dropped (`abort()`) when the block raises.

    States are the lifecycle's (`lifecycle.Phase`): opening → open → closing or upgrading → ended, closed, failed or
    upgraded, for good.

    Invariants:
        - Whatever happens comes in by `on()`, and nothing but `on()` carries out effects.
        - `opened` and `closed` settle once each; the connection counts for the policy until the last phase.
        - Once all is over and read, the streams know a snapshot (`streams.Ended`) in place of the socket.

    The application calls the first part; the streams and the wire call `on()` and `drained()`.
    """

    readable: ReadableStream
    writable: WritableStream
    _wire: Wire

    def __init__(
        self, target: Target, options: SocketOptions, *, origin: Socket | None = None, accepted: bool = False
    ) -> None:
        self.loop = running_loop()
        self._target = target
        self._options = options
        self._accepted = accepted
        self._lifecycle = Lifecycle(
            secure_transport=options.secure_transport, allow_half_open=options.allow_half_open, accepted=accepted
        )
        self._error: BaseException = ClosedError(SOCKET_CLOSED)
        self._opened: Promise[SocketInfo] = Promise(self.loop)
        self._closed: Promise[None] = Promise(self.loop)
        self._over: Promise[None] = Promise(self.loop)
        self._info: SocketInfo | None = None
        self.round_trip_s = 0.0  # how long the TCP connect took; about one round trip
        self._origin = origin  # the socket that this one is the upgrade of
        self._upgrade: Socket | None = None
        self._upgraded = False
        self._has_aborted = False  # by the caller
        self._dropped_bytes = 0  # by that
        self._is_letting_go = False
        self._wrapper: HandshakeWrapper | None = None
        self._secured: TlsCodec | None = None  # after the handshake
        self._opening: Job[None] | None = None
        self._turn: Promise[None] | None = None  # starts the connection once the policy has a free place
        self._leave: Callable[[], None] | None = None  # frees this connection's slot
        self.readable = ReadableStream(self)
        self.writable = WritableStream(self, options.high_water_mark)
        self._wire = Wire(self.readable, self.writable, self.on, accepted=accepted)
        # For the streams, which ask for each chunk: what a read and a write meet, where bytes come from and go to.
        self.reading, self.writing = self._lifecycle.reading, self._lifecycle.writing
        self.receiving: Receiving | None = self._wire.receiving  # None: all is over
        self.sending: Sending | None = self._wire.sending

    def __repr__(self) -> str:
        info = self.tls_info
        security = f"secure_transport={self.secure_transport!r}" if info is None else info.version
        return f"<Socket {self._target.text}, {self._lifecycle.phase.name.lower()}, {security}>"

    # ---- the API

    @property
    def opened(self) -> Promise[SocketInfo]:
        """Resolves when the connection is up, under TLS when the handshake is done (N1).

        Rejects with ConnectError (ResolveError, BlockedError, ConnectTimeout), TlsError, CertificateError or, where the
        socket was dropped meanwhile, ClosedError. Cancelling a wait changes nothing.
        """
        return self._opened

    @property
    def closed(self) -> Promise[None]:
        """Resolves when the socket has ended in order: `close()`, both EOFs, or an upgrade (D1, S6).

        Rejects with what `opened` rejected with, with LostError when the connection broke (V5), or with the reason of
        `writer.abort()` (D2, V7). `closed` notices a failure of the peer only when something is read or written (D3).
        """
        return self._closed

    @property
    def accepted(self) -> bool:
        """Did a listener accept this connection? Then we are the server in an upgrade."""
        return self._accepted

    @property
    def upgraded(self) -> bool:
        """Has `start_tls()` taken effect on this socket (S5)? The new one says False."""
        return self._upgraded

    @property
    def secure_transport(self) -> SecureTransport:
        """The option as resolved (O6); "on" for the result of `start_tls()` (S5)."""
        return self._options.secure_transport

    @property
    def tls_info(self) -> TlsInfo | None:
        """Version, cipher and certificates after the handshake, also when the socket has ended; else None."""
        return None if self._secured is None else self._secured.info()

    @property
    def ignored_bytes(self) -> int:
        """How many bytes have come behind the peer's close_notify; they are not read (SEC-R9)."""
        return 0 if self._secured is None else self._secured.ignored_bytes

    @property
    def peer(self) -> str:
        """What messages call the peer: the address as it was given, or where an accepted connection comes from."""
        return self._target.text

    @property
    def ends(self) -> SocketInfo:
        """Both ends of the connection: what `opened` resolves with; known before, where it was accepted.

        Raises:
            ValueError: they are not known yet.
        """
        if self._info is None:
            raise ValueError("the connection is not there yet")
        return self._info

    @property
    def over(self) -> Promise[None]:
        """Resolves when nothing more can come of this socket: ended, closed, failed or upgraded. Never rejects."""
        return self._over

    @property
    def latest(self) -> Socket:
        """The socket that has the connection now: this one, or what upgrades have made of it."""
        return self if self._upgrade is None else self._upgrade.latest

    @property
    def hostname(self) -> str:
        """The host part of the address, without brackets."""
        return self._target.host

    @property
    def moved_bytes(self) -> int:
        """Bytes on the wire so far, both ways, TLS records included: unchanged means that nothing moves."""
        return self._wire.moved_bytes

    @property
    def quiet_s(self) -> float:
        """Seconds in which nothing has come from the network, TLS records included.

        0 while something waits to be read; infinite where nothing has come since the handshake.
        """
        return self._wire.quiet_s

    def close(self) -> Promise[None]:
        """Close both directions in order: waits for `opened` and for queued writes, then the peer sees our EOF.

        It is not abrupt: a peer that does not read holds it up (C2). It may be called again (C3) and never
        rejects, the error is on `closed` (C4). From the call on reads and writes reject (C7). Cancelling the
        wait does not stop the closing; `abort()` does.
        """
        self.on(Event.CLOSE)
        return self._over

    def abort(self) -> None:
        """Drop everything now: the peer sees a reset. May be called at any time.

        What is queued is lost, and its writes reject; `closed` rejects too then, and resolves where nothing was.
        """
        self._has_aborted = True
        self._dropped_bytes = self.writable.queued_bytes
        self.on(Event.DROP_QUEUED if self._dropped_bytes else Event.DROP)

    def start_tls(
        self,
        expected_server_hostname: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        wrapper: HandshakeWrapper | None = None,
    ) -> Socket:
        """Upgrade to TLS in place and return the socket that replaces this one, at once (S2).

        Await the new socket's `opened` to know that the handshake is done (S9). May be called before `opened`. What is
        queued goes out in clear text first (S7); readers and writers of this socket fail from now on, released or not
        (V8, not S3 and S4). Clear text that the peer has sent and nobody has read makes the new `opened` reject with
        InjectionError, and no ClientHello is sent (V13, not S8). `expected_server_hostname` replaces the address's host
        for SNI and the check of the certificate (S11), and `tls` the context that `connect()` was given;
        `allow_half_open` and `high_water_mark` carry over (S13). `wrapper`: packs the handshake for protocols such as
        MS-TDS. A socket that is never upgraded stays in clear text (S15).

        On a socket that was accepted the handshake is the server's, with the listener's context unless `tls` is given,
        and `expected_server_hostname` means nothing (I51). What has come behind the last write and is unread is the
        handshake; clear text is what had come before it.

        Raises:
            UpgradeError: the socket was not opened for it, is closed, or was upgraded before (S1, V16).
        """
        self._lifecycle.check_start_tls()
        changes: dict[str, Any] = {"secure_transport": "on"}
        if expected_server_hostname:
            changes["expected_server_hostname"] = expected_server_hostname
        if tls is not None:
            changes["tls"] = tls
        upgraded = Socket(self._target, make_options(self._options, changes), origin=self, accepted=self._accepted)
        upgraded._wrapper = wrapper
        if self._lifecycle.can_upgrade:
            self._upgrade = upgraded
            self.on(Event.START_TLS)
        else:  # S14, V12: our side has ended, or the connection failed
            failed = self._lifecycle.phase is Phase.FAILED
            upgraded.on(Event.CONNECT_FAILED, self._error if failed else ClosedError(WRITABLE_CLOSED))
        return upgraded

    async def __aenter__(self) -> Socket:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close in order and raise what `closed` rejects with, if that is news (V17); abort where the block failed.

        It is no news where something has raised it already, or where the block has aborted. Being cancelled here
        aborts, so that nothing goes on behind the caller's back.
        """
        if error is not None:
            self.abort()
            return
        try:
            await self.close()
        except BaseException:
            self.abort()
            raise
        failure = self._closed.exception() if self._closed.done() else None
        aborted = self._has_aborted or self._lifecycle.write is WriteHalf.ABORTED
        if failure is not None and not aborted and not getattr(failure, "was_raised", False):
            await self._closed

    # ---- what streams and wire ask and tell

    @property
    def error(self) -> BaseException:
        """For the streams: why the socket failed."""
        return self._error

    def on(self, event: Event, error: BaseException | None = None) -> None:
        """Take an event and carry out what follows from it."""
        if error is not None and self._lifecycle.phase not in FINAL:
            if isinstance(error, SocketError):
                without_frames(error)
            self._error = error
        effects = self._lifecycle.on(event)
        self.reading, self.writing = self._lifecycle.reading, self._lifecycle.writing
        for effect in effects:
            CARRY_OUT[effect.action](self, effect.reason)
        if self._lifecycle.phase in FINAL:
            self._over.resolve(None)
            if self._leave is not None:
                self._leave()
            self.drained()

    def drained(self) -> None:
        """For `readable`: nothing may be left to read.

        When all is over, nothing that we have refers to us any more, so that we go with our last user. That comes in
        the next turn: whoever has found the end goes on with the wire until it returns.
        """
        phase = self._lifecycle.phase
        if phase not in FINAL or (phase is Phase.FAILED and not self.readable.outcome.settled):
            return
        if self.receiving is None:
            self.readable.owner = self.writable.owner = Ended(self)  # something has changed since
        elif not self._is_letting_go:
            self._is_letting_go = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon(self._let_go)

    def _let_go(self) -> None:
        self._wire.let_go()
        self.receiving = self.sending = None
        self._origin = None
        self.readable.owner = self.writable.owner = Ended(self)

    # ---- making the connection

    @classmethod
    def _dialing(cls, target: Target, options: SocketOptions, dialer: Dialer) -> Socket:
        socket = cls(target, options)
        socket._begin(lambda: socket._open_dialed(dialer))
        return socket

    @classmethod
    def _adopting(cls, sock: stdlib.socket, target: Target, options: SocketOptions, info: SocketInfo) -> Socket:
        socket = cls(target, options, accepted=True)
        socket._info = info
        socket._wire.attach(sock)
        if options.secure_transport == "on":
            socket._begin(socket._handshake)
        else:
            socket.on(Event.CONNECTED)
        return socket

    def _begin(self, way: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._opening = Job(self.loop, self._open_or_tell(way))
        self._opening.end_with_loop()

    async def _open_or_tell(self, way: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await self._open(way)
        except Exception as error:  # a bug: `_open` reports failures itself
            self.loop.call_soon(_raise, error)

    async def _open(self, way: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Open in one way or the other, under the deadline, to CONNECTED or CONNECT_FAILED."""
        try:
            try:
                await in_time(self._options.connect_timeout, way())
            except TimeoutError as error:
                raise self._timeout() from error
        except GeneratorExit:  # it was dropped meanwhile, or the loop ends
            self._wire.reset()
            raise
        except MemoryError as error:
            failure = connect_failed(self._target, f"{self._target.text}: out of memory")
            failure.__cause__ = error
            self.on(Event.CONNECT_FAILED, failure)
        except Exception as error:  # SocketError, or whatever a context or a check of the caller's raises
            self.on(Event.CONNECT_FAILED, error)
        else:
            self.on(Event.CONNECTED)

    async def _open_dialed(self, dialer: Dialer) -> None:
        if self._options.policy is not None:
            await self._take_turn(self._options.policy)
        began = time.monotonic()
        trace = None if self._options.trace is None else self._tell
        sock, self.round_trip_s = await dialer(self._target, trace=trace)
        self._wire.attach(sock)
        await self._open_attached(began)

    async def _open_attached(self, began: float) -> None:
        """From a connected OS socket, whoever made it, to one that can be used."""
        options, sock = self._options, self._wire.sock
        assert sock is not None
        try:
            ends = sock.getpeername()[:2], sock.getsockname()[:2]
        except OSError as error:  # reset in the moment that it was made
            raise connect_failed(self._target, f"{self._target.text}: connection reset by peer") from error
        self._info = SocketInfo(format_address(*ends[0]), format_address(*ends[1]))
        if options.policy is not None and (verdict := options.policy.judge_ends(*self._info)).status == "blocked":
            raise blocked(self._target, verdict)
        if options.trace is not None:
            from cfcat.record.events import Connected  # lazy: most runs tell nobody

            self._tell(Connected(*self._info, time.monotonic() - began))
        if options.secure_transport == "on":
            try:
                await self._handshake()
            except TlsError as error:  # N4: one text for every failure; the reason is the detail
                error.detail, error.message = error.message, failure_message(self._target.port)
                raise

    async def _take_turn(self, policy: WorkersPolicy) -> None:
        """Wait until there are few enough connections; this one counts until it is over, upgraded or not (P6)."""
        turn: Promise[None] = Promise(self.loop)
        self._leave = policy.enter(lambda: turn.resolve(None))
        self._turn = turn
        await turn

    async def _open_upgrade(self) -> None:
        try:
            await self._handshake()
        except TlsError as error:
            error.upgrading = True
            raise

    async def _handshake(self) -> None:
        codec = self._tls_codec()
        began = time.monotonic()
        await self._wire.handshake(codec, self._wrapper)
        self._secured = codec
        if self._options.trace is not None:
            from cfcat.record.events import TlsEstablished  # lazy: as above

            self._tell(TlsEstablished(codec.info(), time.monotonic() - began))

    def _tell(self, event: TraceEvent) -> None:
        """Call the trace function; an exception in it is logged and does not fail the connection."""
        if self._options.trace is None:
            return
        try:
            self._options.trace(event)
        except Exception as error:
            self.loop.call_soon(_raise, error)

    def _tls_codec(self) -> TlsCodec:
        context = self._options.tls
        assert context is not None
        if self._accepted:
            return self._server_codec(context)
        name = self._options.expected_server_hostname
        if name is None:
            name = without_zone(self._target.host).rstrip(".")  # the dot is for the resolver, no certificate has it
        max_tls = self._max_tls
        from cfcat.core.context import limited  # lazy: ssl
        from cfcat.core.tls import TlsCodec

        try:
            with limited(context, max_tls):
                return TlsCodec(context, name or None, ignore_unexpected_eof=self._options.ignore_unexpected_eof)
        except (ValueError, OSError) as error:  # UnicodeError, ssl.SSLError
            raise TlsError(f"TLS cannot begin with {name!r}: {error}") from error

    def _server_codec(self, context: ssl.SSLContext) -> TlsCodec:
        from cfcat.core.context import limited  # lazy: ssl
        from cfcat.core.tls import TlsCodec

        with limited(context, self._max_tls):
            return TlsCodec(context, server_side=True, ignore_unexpected_eof=self._options.ignore_unexpected_eof)

    @property
    def _max_tls(self) -> str | None:
        return None if self._wrapper is None else self._wrapper.max_tls

    def _timeout(self) -> ConnectTimeout:
        phase = "the TLS handshake was not complete" if self._wire.is_attached else "no connection"
        if self._turn is not None and not self._turn.done():
            from cfcat.core.workers import MOST_SOCKETS  # lazy: it has a policy

            phase = f"{MOST_SOCKETS} other connections were still open (rule P6)"
        seconds = self._options.connect_timeout
        detail = f"{self._target.text}: {phase} after {seconds:g} s"
        return ConnectTimeout(detail if self._accepted else failure_message(self._target.port), detail)

    # ---- effects, a method for each action

    def _exception(self, reason: Reason | None) -> BaseException:
        if reason is Reason.FAILURE:
            return self._error
        if reason is Reason.DROPPED:
            return ClosedError(SOCKET_CLOSED, f"{self._dropped_bytes} bytes were not sent")
        return self.writable.abort_reason if reason is Reason.ABORT else ClosedError(SOCKET_CLOSED)

    def _resolve_opened(self, _: Reason | None) -> None:
        assert self._info is not None
        self._opened.resolve(self._info)
        self._wire.open()

    def _reject_opened(self, _: Reason | None) -> None:
        self._opened.reject(self._error)
        self.readable.fail(self._error)  # V2, not N6: an error must not look like the end of data

    def _drop_writes(self, reason: Reason | None) -> None:
        if self.sending is None:
            return  # nothing is queued
        self.sending.settle_writes()
        self.writable.drop(self._exception(reason))
        if reason is Reason.FAILURE:
            self._wire.lost = self._error
        self.sending.drop_unsent()

    def _release_streams(self, _: Reason | None) -> None:
        self.readable.fail(ClosedError(READER_RELEASED))
        self.writable.released(ClosedError(WRITER_RELEASED))

    def _end_streams(self, reason: Reason | None) -> None:
        self.readable.outcome.end(None if reason is None else self._exception(reason))
        self.writable.socket_closed()

    def _hand_over(self, _: Reason | None) -> None:
        """The flush is done: the old socket ends, the new one takes the wire (S5, S6)."""
        upgraded = self._upgrade
        assert upgraded is not None
        self._upgraded = True
        upgraded._info = self._info
        upgraded.round_trip_s = self.round_trip_s
        upgraded._leave, self._leave = self._leave, None
        early = b""
        if self._accepted:
            early = self.readable.take_returned()
            unread = self._wire.injected_bytes(len(early))
        else:
            unread = self.readable.returned_bytes + self._wire.unread_bytes()
        self._wire.move_to(upgraded._wire, early)
        upgraded._origin = None
        if unread:
            text = f"{unread} bytes of clear text were unread at the upgrade to TLS (possible injection)"
            upgraded.on(Event.CONNECT_FAILED, InjectionError(text, unread))
        else:
            upgraded._begin(upgraded._open_upgrade)

    def _reset_wire(self, _: Reason | None) -> None:
        if self._origin is not None and not self._wire.is_attached:
            self._origin.abort()  # the connection still belongs to the old socket
        if self._opening is not None:
            self._opening.cancel()
        if self.receiving is not None:
            self._wire.reset()

    def _close_wire(self, _: Reason | None) -> None:
        if self.receiving is not None:
            self._wire.close()

    def _fail_upgrade(self, _: Reason | None) -> None:
        assert self._upgrade is not None
        self._upgrade.on(Event.CONNECT_FAILED, self._error)

    def _reject_closed(self, reason: Reason | None) -> None:
        self._closed.reject(self._exception(reason))


def _raise(error: Exception) -> None:
    """What a callback raises is the loop's to tell."""
    raise error


CARRY_OUT: dict[Action, Callable[[Socket, Reason | None], None]] = {
    Action.RESOLVE_OPENED: Socket._resolve_opened,
    Action.REJECT_OPENED: Socket._reject_opened,
    Action.FLUSH_THEN_END: lambda socket, _: socket._wire.sending.flush_then_end(),
    Action.FLUSH_THEN_CLOSE: lambda socket, _: socket._wire.sending.flush_then_close_notify(),
    Action.FLUSH_THEN_UPGRADE: lambda socket, _: socket._wire.sending.flush(),
    Action.WRITING_ENDED: lambda socket, _: socket.writable.ended(),
    Action.DROP_WRITES: Socket._drop_writes,
    Action.STOP_READS: lambda socket, _: socket.readable.stop(ClosedError(SOCKET_CLOSED)),
    Action.RELEASE_STREAMS: Socket._release_streams,
    Action.END_STREAMS: Socket._end_streams,
    Action.CLOSE_WIRE: Socket._close_wire,
    Action.RESET_WIRE: Socket._reset_wire,
    Action.HAND_OVER: Socket._hand_over,
    Action.FAIL_UPGRADE: Socket._fail_upgrade,
    Action.RESOLVE_CLOSED: lambda socket, _: socket._closed.resolve(None),
    Action.REJECT_CLOSED: Socket._reject_closed,
}
