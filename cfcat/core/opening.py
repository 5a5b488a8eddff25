"""Making the connection of a socket: dialed, accepted or upgraded, under one deadline, to CONNECTED or CONNECT_FAILED.

Source: connect-semantics rules N, T, S9; differences V1, V3, V12; inbound rules I36, I43.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cfcat.core.address import format_address, is_ip, without_zone
from cfcat.core.dial import Dialer, blocked, connect_failed, failure_message
from cfcat.core.job import Job
from cfcat.core.lifecycle import Event
from cfcat.core.promise import Promise
from cfcat.core.reacting import Reacting, SocketInfo
from cfcat.core.waiting import in_time
from cfcat.errors import ConnectTimeout, OptionsError, SilentIn, SocketError, TlsError, reason_of

if TYPE_CHECKING:
    import socket
    import ssl

    from cfcat.core.tls import TlsCodec
    from cfcat.core.workers import WorkersPolicy
    from cfcat.record.making import TraceEvent

__all__ = ["Opening"]


class Opening(Reacting):
    """A socket that comes about: by `_dial`, `_open_accepted`, or `_begin_upgraded` after another one."""

    _dialer: Dialer | None = None  # for `connect()` alone
    _shakes_hands_in: SilentIn | None = None

    def _dial(self, dialer: Dialer) -> None:
        """Begin a connection by this dialer."""
        self._dialer = dialer
        self._begin(lambda: self._open_dialed(dialer))

    def _open_accepted(self, info: SocketInfo) -> None:
        """Begin with the connection that is attached; in clear text it is open at once (I2)."""
        self._info = info
        if self._options.secure_transport == "on":
            self._begin(self._handshake)
        else:
            self.on(Event.CONNECTED)

    def _begin_upgraded(self) -> None:
        self._begin(self._open_upgrade)

    def _begin(self, way: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._opening = Job(self.loop, self._open_or_tell(way))
        self._opening.end_with_loop()

    async def _open_or_tell(self, way: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await self._open(way)
        except Exception as error:  # a bug: `_open` reports failures itself
            self.loop.call_soon(_raise, error)
        self._opening = None

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
            if isinstance(error, SocketError) and not (self._accepted or self._wire.received_bytes):
                error.silent_in = self._shakes_hands_in
            self.on(Event.CONNECT_FAILED, error)
        else:
            self.on(Event.CONNECTED)

    async def _open_dialed(self, dialer: Dialer) -> None:
        if self._options.policy is not None:
            await self._take_turn(self._options.policy)
        began = time.monotonic()
        trace = None if self._options.trace is None else self._tell
        sock, self.round_trip_s, outer = await dialer(self._target, trace=trace)
        self._wire.attach(sock, outer)
        await self._open_attached(began)

    async def _open_attached(self, began: float) -> None:
        """From a connected OS socket, whoever made it, to one that can be used."""
        options, sock = self._options, self._wire.sock
        assert sock is not None
        try:
            self._info = self._both(sock.getpeername()[:2], sock.getsockname()[:2])
        except OSError as error:  # reset already; what had come before can still be read, and then the reset is told
            if options.policy is not None:
                raise connect_failed(self._target, f"{self._target.text}: connection reset by peer") from error
            self._info = SocketInfo(self._target.text, "")
        if options.policy is not None and (verdict := options.policy.judge_ends(*self._info)).status == "blocked":
            raise blocked(self._target, verdict)
        if options.trace is not None:
            from cfcat.record.making import Connected  # lazy: most runs tell nobody

            self._tell(Connected(*self._info, time.monotonic() - began))
        if options.proxy_protocol is not None:
            await self._say_header(sock, options.proxy_protocol)
        if options.secure_transport == "on":
            self._shakes_hands_in = "handshake"
            try:
                await self._handshake()
            except TlsError as error:  # N4: one text for every failure; the reason is the detail
                error.detail, error.message = error.message, failure_message(self._target.port)
                raise

    async def _say_header(self, sock: socket.socket, claim: str) -> None:
        """Say whom we speak for, before anything else (`--proxy-protocol`); through a proxy it is for the target."""
        from cfcat.proxies.header import End, header, parse_claim  # lazy: most connections have none

        ours = target = None
        if self._info is not None and self._info.local_address:
            ours, target = End(*sock.getsockname()[:2]), End(*sock.getpeername()[:2])
        if self._options.via is not None:
            host = without_zone(self._target.host)
            target = End(host, self._target.port) if is_ip(host) else None
        try:
            await self._wire.say(header(parse_claim(claim), ours, target))
        except OptionsError:
            raise
        except OSError as error:
            raise connect_failed(self._target, f"{self._target.text}: {reason_of(error)}") from error

    def _both(self, remote: tuple[str, int] | str, local: tuple[str, int] | str) -> SocketInfo:
        """Both ends; on a Unix socket the address is the other one, and ours has no name."""
        if isinstance(remote, str) or isinstance(local, str):
            return SocketInfo(self._target.text, "")
        return SocketInfo(format_address(*remote), format_address(*local))

    async def _take_turn(self, policy: WorkersPolicy) -> None:
        """Wait until there are few enough connections; this one counts until it is over, upgraded or not (P6)."""
        turn: Promise[None] = Promise(self.loop)
        self._leave = policy.enter(lambda: turn.resolve(None))
        self._turn = turn
        await turn

    async def _open_upgrade(self) -> None:
        self._shakes_hands_in = "upgrade"
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
            from cfcat.record.making import TlsEstablished  # lazy: as above

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
        from cfcat.core.channel import client_codec  # lazy: ssl

        return client_codec(
            context,
            name,
            max_tls=self._max_tls,
            ignore_unexpected_eof=self._options.ignore_unexpected_eof,
            relays=self._relays,
        )

    def _server_codec(self, context: ssl.SSLContext) -> TlsCodec:
        from cfcat.core.context import limited  # lazy: ssl
        from cfcat.core.tls import TlsCodec

        with limited(context, self._max_tls):
            return TlsCodec(
                context,
                server_side=True,
                ignore_unexpected_eof=self._options.ignore_unexpected_eof,
                relays=self._relays,
            )

    @property
    def _max_tls(self) -> str | None:
        return None if self._wrapper is None else self._wrapper.max_tls

    @property
    def missing(self) -> str:
        """What has not come about by now, for the message of a deadline: `mail.example:25: no connection`."""
        if self._turn is not None and not self._turn.done():
            from cfcat.core.workers import MOST_SOCKETS  # lazy: it has a policy

            return f"{self._target.text}: {MOST_SOCKETS} other connections were still open (rule P6)"
        if self._dialer is not None and not self._wire.is_attached:
            return self._dialer.missing(self._target)
        return f"{self._target.text}: the TLS handshake was not complete"

    def _timeout(self) -> ConnectTimeout:
        detail = f"{self.missing} after {self._options.connect_timeout:g} s"
        return ConnectTimeout(detail if self._accepted else failure_message(self._target.port), detail)


def _raise(error: Exception) -> None:
    """What a callback raises is the loop's to tell."""
    raise error
