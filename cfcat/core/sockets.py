"""`connect()` and `Socket`: the API, and the one place where lifecycle, streams and wire meet.

What the application calls and what the wire sees become events; the lifecycle answers with effects; each effect is
one method here. Source: connect-semantics rules A1, N, C, D, S; differences V1-V3, V5-V8, V12, V13, V16.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from cfcat.core.address import SocketAddress, Target, format_address, parse_address
from cfcat.core.certificate import TlsInfo
from cfcat.core.codec import TlsCodec
from cfcat.core.dial import blocked, connect_failed, dial, failure_message
from cfcat.core.lifecycle import FINAL, Effect, Event, Lifecycle, Phase, Reading, WriteHalf, Writing
from cfcat.core.operation import Operation, fail, handled, resolve
from cfcat.core.options import SecureTransport, SocketOptions, log_keys, make_options, make_tls_context
from cfcat.core.readable import ReadableStream
from cfcat.core.streams import READER_RELEASED, SOCKET_CLOSED, WRITABLE_CLOSED, WRITER_RELEASED, Carrier
from cfcat.core.wire import HandshakeWrapper, Wire
from cfcat.core.workers import MOST_SOCKETS, WorkersPolicy
from cfcat.core.writable import WritableStream
from cfcat.errors import (
    ClosedError,
    ConnectTimeout,
    InjectionError,
    TlsError,
)
from cfcat.record.events import Connected, TlsEstablished, TraceEvent

__all__ = ["Socket", "SocketInfo", "connect"]


class SocketInfo(NamedTuple):
    """What `opened` resolves with: both ends as `ip:port`, IPv6 in brackets (V1, not N2)."""

    remote_address: str
    local_address: str


def connect(
    address: str | SocketAddress,
    options: SocketOptions | Mapping[str, object] | None = None,
    **changes: Any,
) -> Socket:
    """Begin a connection and return its socket at once (A1). Call it inside a running event loop.

    `address` is `"host:port"`, IPv6 in brackets, or a `SocketAddress`. Options may be given as `SocketOptions`, as
    a mapping (its unknown keys are ignored, O1), as keywords, or both (keywords win). Only a `policy` limits the number
    of sockets (O7, P6); without `connect_timeout` nothing but the network ends an attempt (N9) or a handshake (S16).

    Raises:
        AddressError: the address cannot be parsed (A2-A8); looked at before the options (A13).
        OptionsError: an option has an impossible value (O2, O4).
        TypeError: an argument has the wrong type (V15).
        RuntimeError: there is no running event loop (A15).
    """
    target = parse_address(address)
    resolved = make_options(options, changes)
    asyncio.get_running_loop()
    if resolved.secure_transport != "off" and resolved.tls is None:
        resolved = make_options(resolved, {"tls": _default_context()})
    return Socket._connecting(target, resolved)


class Socket:
    """One connection, or its part before or after an upgrade. Made by `connect()` and `start_tls()`.

    `readable` and `writable` are its streams; they work before `opened` already. As a context manager it is
    closed in order at the end of the block, and dropped (`abort()`) when the block raises.
    """

    readable: ReadableStream
    writable: WritableStream

    def __init__(self, target: Target, options: SocketOptions, origin: Socket | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._target = target
        self._options = options
        self._lifecycle = Lifecycle(secure_transport=options.secure_transport, allow_half_open=options.allow_half_open)
        self._error: BaseException = ClosedError(SOCKET_CLOSED)
        self._opened: asyncio.Future[SocketInfo] = handled(loop.create_future())
        self._closed: asyncio.Future[None] = handled(loop.create_future())
        self._over: asyncio.Future[None] = handled(loop.create_future())
        self._info: SocketInfo | None = None
        self._origin = origin  # the socket that this one is the upgrade of
        self._upgrade: Socket | None = None
        self._upgraded = False
        self._wrapper: HandshakeWrapper | None = None
        self._secured: TlsCodec | None = None  # after the handshake
        self._task: asyncio.Task[None] | None = None
        self._turn: asyncio.Future[None] | None = None  # to begin, where a policy limits how many there are
        self._leave: Callable[[], None] | None = None  # gives the place of this connection up
        self.readable = ReadableStream(self)
        self.writable = WritableStream(self, options.high_water_mark)
        self._wire = Wire(self)

    # ---- the API

    @property
    def opened(self) -> Operation[SocketInfo]:
        """Resolves when the connection is up, under TLS when the handshake is done (N1).

        Rejects with ConnectError (ResolveError, BlockedError, ConnectTimeout), TlsError, CertificateError or, where the
        socket was dropped meanwhile, ClosedError. Cancelling a wait changes nothing.
        """
        return Operation(self._opened)

    @property
    def closed(self) -> Operation[None]:
        """Resolves when the socket has ended in order: `close()`, both EOFs, or an upgrade (D1, S6).

        Rejects with what `opened` rejected with, with LostError when the connection broke (V5), or with the
        reason of `writer.abort()` (D2, V7). It learns of the peer only through reads and writes (D3).
        """
        return Operation(self._closed)

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
        """How many bytes have come behind the peer's close_notify; they are not read (R9)."""
        return 0 if self._secured is None else self._secured.ignored_bytes

    @property
    def hostname(self) -> str:
        """The host part of the address, without brackets."""
        return self._target.host

    @property
    def moved_bytes(self) -> int:
        """Bytes on the wire so far, both ways, TLS records included: unchanged means that nothing moves."""
        return self._wire.moved_bytes

    def close(self) -> Operation[None]:
        """Close both directions in order: waits for `opened` and for queued writes, then the peer sees our EOF.

        It is not abrupt: a peer that does not read holds it up (C2). It may be called again (C3) and never
        rejects, the error is on `closed` (C4). From the call on reads and writes reject (C7). Cancelling the
        wait does not stop the closing; `abort()` does.
        """
        self.on(Event.CLOSE)
        return Operation(self._over)

    def abort(self) -> None:
        """Drop everything now: what is queued is lost, and the peer sees a reset. May be called at any time."""
        self.on(Event.DROP)

    def start_tls(
        self, expected_server_hostname: str | None = None, *, wrapper: HandshakeWrapper | None = None
    ) -> Socket:
        """Upgrade to TLS in place and return the socket that replaces this one, at once (S2).

        Await its `opened` for the handshake (S9). May be called before `opened`. What is queued goes out in clear
        text first (S7); readers and writers of this socket fail from now on, released or not (V8, not S3 and S4).
        Clear text that the peer has sent and nobody has read makes the new `opened` reject with InjectionError, and
        no ClientHello is sent (V13, not S8). `expected_server_hostname` replaces the address's host for SNI and the
        check of the certificate (S11); `allow_half_open` and `high_water_mark` carry over (S13). `wrapper` is for
        the protocols whose handshake travels in packets of their own. A socket that is never upgraded stays in
        clear text (S15).

        Raises:
            UpgradeError: the socket was not opened for it, is closed, or was upgraded before (S1, V16).
        """
        self._lifecycle.check_start_tls()
        changes: dict[str, Any] = {"secure_transport": "on"}
        if expected_server_hostname:
            changes["expected_server_hostname"] = expected_server_hostname
        upgraded = Socket(self._target, make_options(self._options, changes), self)
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
        if error is None:
            await self.close()
        else:
            self.abort()

    # ---- what streams and wire ask and tell

    @property
    def reading(self) -> Reading:
        """For the streams: what a read meets."""
        return self._lifecycle.reading

    @property
    def writing(self) -> Writing:
        """For the streams: what a write meets."""
        return self._lifecycle.writing

    @property
    def error(self) -> BaseException:
        """For the streams: why the socket failed."""
        return self._error

    @property
    def carrier(self) -> Carrier:
        """For the streams: what moves their bytes."""
        return self._wire

    def on(self, event: Event, error: BaseException | None = None) -> None:
        """Take an event and carry out what follows from it."""
        if error is not None and self._lifecycle.phase not in FINAL:
            self._error = error
        for effect in self._lifecycle.on(event):
            EFFECTS[effect](self)
        if self._lifecycle.phase in FINAL:
            resolve(self._over, None)
            if self._leave is not None:
                self._leave()

    # ---- making the connection

    @classmethod
    def _connecting(cls, target: Target, options: SocketOptions) -> Socket:
        socket = cls(target, options)
        socket._begin(socket._open_new)
        return socket

    def _begin(self, way: Callable[[], Awaitable[None]]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._open(way))
        self._task.add_done_callback(self._opening_over)

    def _opening_over(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # dropped meanwhile; only now does nobody wait on the descriptor any more
            self._wire.reset()

    async def _open(self, way: Callable[[], Awaitable[None]]) -> None:
        """Open in one way or the other, under the deadline, to CONNECTED or CONNECT_FAILED."""
        try:
            try:
                async with asyncio.timeout(self._options.connect_timeout):
                    await way()
            except TimeoutError as error:
                raise self._timeout() from error
        except MemoryError as error:
            failure = connect_failed(self._target, f"{self._target.text}: out of memory")
            failure.__cause__ = error
            self.on(Event.CONNECT_FAILED, failure)
        except Exception as error:  # SocketError, or whatever a context or a check of the caller's raises
            self.on(Event.CONNECT_FAILED, error)
        else:
            self.on(Event.CONNECTED)

    async def _open_new(self) -> None:
        options = self._options
        if options.policy is not None:
            await self._take_turn(options.policy)
        began = time.monotonic()
        family, policy = options.address_family, options.policy
        sock = await dial(self._target, family=family, policy=policy, trace=self._tell)
        self._wire.attach(sock)
        try:
            ends = sock.getpeername()[:2], sock.getsockname()[:2]
        except OSError as error:  # reset in the moment that it was made
            raise connect_failed(self._target, f"{self._target.text}: connection reset by peer") from error
        self._info = SocketInfo(format_address(*ends[0]), format_address(*ends[1]))
        if policy is not None and (verdict := policy.judge_ends(*self._info)).status == "blocked":
            raise blocked(self._target, verdict)
        self._tell(Connected(*self._info, time.monotonic() - began))
        if options.secure_transport == "on":
            try:
                await self._handshake()
            except TlsError as error:  # N4: one text for every failure; the reason is the detail
                error.detail, error.message = error.message, failure_message(self._target.port)
                raise

    async def _take_turn(self, policy: WorkersPolicy) -> None:
        """Wait until there are few enough connections; this one counts until it is over, upgraded or not (P6)."""
        turn = self._turn = asyncio.get_running_loop().create_future()
        self._leave = policy.enter(lambda: resolve(turn, None))
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
            self._tell(TlsEstablished(codec.info(), time.monotonic() - began))

    def _tell(self, event: TraceEvent) -> None:
        """Tell whoever looks on; what goes wrong there is not our failure."""
        if self._options.trace is None:
            return
        try:
            self._options.trace(event)
        except Exception as error:
            context = {"message": "the trace of a socket failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _tls_codec(self) -> TlsCodec:
        context = self._options.tls
        assert context is not None
        name = self._options.expected_server_hostname
        if name is None:
            name = self._target.host.rstrip(".")  # the dot is for the resolver, no certificate has it
        try:
            return TlsCodec(context, name or None, ignore_unexpected_eof=self._options.ignore_unexpected_eof)
        except (ValueError, UnicodeError, ssl.SSLError) as error:
            raise TlsError(f"TLS cannot begin with {name!r}: {error}") from error

    def _timeout(self) -> ConnectTimeout:
        phase = "the TLS handshake was not complete" if self._wire.attached else "no connection"
        if self._turn is not None and self._turn.cancelled():
            phase = f"{MOST_SOCKETS} other connections were still open (rule P6)"
        seconds = self._options.connect_timeout
        return ConnectTimeout(failure_message(self._target.port), f"{self._target.text}: {phase} after {seconds:g} s")

    # ---- effects, a method each

    def _resolve_opened(self) -> None:
        assert self._info is not None
        resolve(self._opened, self._info)
        self._wire.open()

    def _reject_opened(self) -> None:
        fail(self._opened, self._error)
        self.readable.fail(self._error)  # V2, not N6: an error must not look like the end of data

    def _drop_writes(self) -> None:
        self._wire.settle_writes()
        phase = self._lifecycle.phase
        if phase is Phase.FAILED:
            self.writable.drop(self._error)
            self._wire.lost = self._error
        elif phase is Phase.CLOSED:
            self.writable.drop(ClosedError(SOCKET_CLOSED))
        else:
            self.writable.drop(self.writable.abort_reason)
        self._wire.drop_unsent()

    def _stop_reads(self) -> None:
        if self._lifecycle.phase is Phase.UPGRADING:  # V8: as if the locks had been released
            self.readable.fail(ClosedError(READER_RELEASED))
            self.writable.released(ClosedError(WRITER_RELEASED))
        else:
            self.readable.stop(ClosedError(SOCKET_CLOSED))

    def _end_streams(self) -> None:
        self.readable.outcome.end(self._error if self._lifecycle.phase is Phase.FAILED else None)
        self.writable.socket_closed()

    def _hand_over(self) -> None:
        """The flush is done: the old socket ends, the new one takes the wire (S5, S6)."""
        upgraded = self._upgrade
        assert upgraded is not None
        self._upgraded = True
        upgraded._info = self._info
        upgraded._leave, self._leave = self._leave, None
        unread = self.readable.kept_bytes + self._wire.unread_bytes()
        self._wire.move_to(upgraded._wire)
        if unread:
            text = f"{unread} bytes of clear text were unread at the upgrade to TLS (possible injection)"
            upgraded.on(Event.CONNECT_FAILED, InjectionError(text, unread))
        else:
            upgraded._begin(upgraded._open_upgrade)

    def _reset_wire(self) -> None:
        if self._origin is not None and not self._wire.attached:
            self._origin.abort()  # the upgrade has not begun: the connection is still there
        if self._task is not None and not self._task.done():
            self._task.cancel()
        else:
            self._wire.reset()

    def _fail_upgrade(self) -> None:
        assert self._upgrade is not None
        self._upgrade.on(Event.CONNECT_FAILED, self._error)

    def _reject_closed(self) -> None:
        aborted = self._lifecycle.write is WriteHalf.ABORTED and self._lifecycle.phase is not Phase.FAILED
        fail(self._closed, self.writable.abort_reason if aborted else self._error)


EFFECTS: dict[Effect, Callable[[Socket], None]] = {
    Effect.RESOLVE_OPENED: Socket._resolve_opened,
    Effect.REJECT_OPENED: Socket._reject_opened,
    Effect.FLUSH_THEN_END: lambda socket: socket._wire.flush_then_end(),
    Effect.FLUSH_THEN_CLOSE: lambda socket: socket._wire.flush_then_close_notify(),
    Effect.FLUSH_THEN_UPGRADE: lambda socket: socket._wire.flush(),
    Effect.WRITING_ENDED: lambda socket: socket.writable.ended(),
    Effect.DROP_WRITES: Socket._drop_writes,
    Effect.STOP_READS: Socket._stop_reads,
    Effect.END_STREAMS: Socket._end_streams,
    Effect.CLOSE_WIRE: lambda socket: socket._wire.close(),
    Effect.RESET_WIRE: Socket._reset_wire,
    Effect.HAND_OVER: Socket._hand_over,
    Effect.FAIL_UPGRADE: Socket._fail_upgrade,
    Effect.RESOLVE_CLOSED: lambda socket: resolve(socket._closed, None),
    Effect.REJECT_CLOSED: Socket._reject_closed,
}

_contexts: list[ssl.SSLContext] = []


def _default_context() -> ssl.SSLContext:
    """The verifying default, made once: reading the platform's authorities takes some 30 ms."""
    if not _contexts:
        _contexts.append(make_tls_context())
        log_keys(_contexts[0])
    return _contexts[0]
