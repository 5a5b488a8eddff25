"""`connect()` and `Socket`: the API.

Source: connect-semantics rules A1, N, C, D, S; differences V1, V16, V17. What happens behind it is in `reacting` and
`opening`.
"""

from __future__ import annotations

import socket as stdlib
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from cfcat.core.address import SocketAddress, Target, parse_given, unix_path
from cfcat.core.dial import Dialer, Direct, Route
from cfcat.core.lifecycle import Event, Phase, WriteHalf
from cfcat.core.opening import Opening
from cfcat.core.options import Changes, SecureTransport, SocketOptions, make_options
from cfcat.core.promise import Promise
from cfcat.core.reacting import SocketInfo
from cfcat.core.spelling import Spelt
from cfcat.core.streams import WRITABLE_CLOSED
from cfcat.core.wire import HandshakeWrapper
from cfcat.errors import ClosedError

if TYPE_CHECKING:
    import ssl

    from cfcat.core.certificate import TlsInfo

__all__ = ["Socket", "SocketInfo", "adopt", "connect"]


def connect(
    address: str | SocketAddress,
    options: SocketOptions | Mapping[str, object] | None = None,
    **changes: Unpack[Changes],
) -> Socket:
    """Begin a connection and return its socket at once (A1). Call it inside a running event loop.

    `address` is `"host:port"`, IPv6 in brackets, `"unix:/path"`, or a `SocketAddress`. Options may be given as
    `SocketOptions`, as a mapping, as keywords, or both (keywords win). Only a `policy` limits the number of sockets
    (O7, P6); without `connect_timeout` an attempt (N9) or a handshake (S16) can hang until the network gives up.

    Raises:
        AddressError: the address cannot be parsed (A2-A8); looked at before the options (A13).
        OptionsError: an option has an impossible value (O2, O4), or a proxy cannot have that target.
        TypeError: an argument has the wrong type (V15).
        RuntimeError: there is no running event loop (A15).
    """
    target = parse_given(address)
    resolved = make_options(options, changes)
    if resolved.secure_transport != "off" and resolved.tls is None:
        from cfcat.core.context import default_context  # lazy: ssl

        resolved = resolved._replace(tls=default_context())
    return dial(target, resolved)


def dial(target: Target, options: SocketOptions, *, relays: bool = False) -> Socket:
    """Begin a connection to a target, with options that are complete. `relays`: as for `adopt`.

    Raises:
        OptionsError: the target cannot be had this way.
    """
    dialer = _dialer(target, options)
    socket = Socket(target, options, relays=relays)
    socket._dial(dialer)
    return socket


def _dialer(target: Target, options: SocketOptions) -> Dialer:
    """Raises OptionsError: the target cannot be had this way."""
    if unix_path(target.text) is not None:
        from cfcat.core.unix import ByPath, check_options  # lazy: most connections are to a host

        check_options(target, options)
        return ByPath(options.capture)
    source = None
    if options.source is not None:
        from cfcat.core.route import parse_source  # lazy: most connections come from anywhere

        source = parse_source(options.source)
    route = Route(options.address_family, source, options.resolve, options.capture)
    if options.via is None:
        return Direct(route, policy=options.policy)
    from cfcat.core.proxy import Through  # lazy: most connections are direct

    options.via.check(target, options.address_family)
    return Through(options.via, route)


def adopt(
    sock: stdlib.socket, target: Target, options: SocketOptions, info: SocketInfo, *, relays: bool = False
) -> Socket:
    """Make a socket over a connection that a listener has accepted, non-blocking: its TLS is the server's.

    In clear text it is open at once; under TLS when the handshake is done, for which `options.connect_timeout` holds.
    It owns the OS socket from now on. `target`: what messages call the client. `info`: what `opened` resolves with.
    `relays`: ends are to be passed on as they come (`pass_fin`); under TLS a FIN without close_notify is EOF.
    """
    socket = Socket(target, options, accepted=True, relays=relays)
    socket._wire.attach(sock)
    socket._open_accepted(info)
    return socket


class Socket(
    Spelt,
    Opening,
    instead={
        "read": "readable.get_reader().read()",
        "recv": "readable.get_reader().read()",
        "send": "writable.get_writer().write()",
        "sendall": "writable.get_writer().write()",
        "settimeout": "async with asyncio.timeout()",
        "wait_closed": "await closed",
        "write": "writable.get_writer().write()",
    },
):
    """One connection, or its part before or after an upgrade. Made by `connect()`, `start_tls()` and listeners.

    `readable` and `writable` are its streams; they work before `opened` already. As a context manager it is
    closed in order at the end of the block, and dropped (`abort()`) when the block raises.

    States are the lifecycle's (`lifecycle.Phase`): opening → open → closing or upgrading → ended, closed, failed or
    upgraded, for good.
    """

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
        """Resolves when the socket has ended in order: at `close()`, an upgrade, or the peer's EOF (D1, H1, S6).

        With `allow_half_open` no EOF is enough, also where both sides have ended: it waits for `close()` (H5).

        Rejects with what `opened` rejected with, with LostError when the connection broke (V5), or with the reason of
        `writer.abort()` (D2, V7). `closed` notices a failure of the peer only when something is read or written (D3).
        """
        return self._closed

    @property
    def accepted(self) -> bool:
        """Did a listener accept this connection? Then we are the server in an upgrade."""
        return self._accepted

    @property
    def proxied(self) -> bool:
        """Does the connection go through a proxy (`via`)?"""
        return self._options.via is not None

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
    def was_cut(self) -> bool:
        """Did the peer's TLS end without close_notify? For a relay: elsewhere that is a TruncatedError."""
        return self._secured is not None and self._secured.was_cut

    @property
    def unsent_bytes(self) -> int:
        """How much was written that the peer's kernel has not acknowledged; queued bytes count before encryption."""
        return self.writable.queued_bytes + self._wire.unsent_bytes

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
        upgraded = self._upgrade
        return upgraded.latest if isinstance(upgraded, Socket) else self

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

    def pass_fin(self) -> None:
        """Send TCP's FIN behind what is queued: for a relay, whose other side has sent one.

        Under TLS it follows close_notify if `writer.close()` was awaited before, and cuts TLS short if not.
        """
        self.on(Event.FIN)

    def until_fin(self) -> Promise[OSError | None]:
        """Resolves when TCP's FIN has come behind the peer's close_notify, or with what broke the connection.

        For a relay. `readable` must be at its end; what comes behind that is dropped.
        """
        came: Promise[OSError | None] = Promise(self.loop)
        if self.receiving is not None:
            self.receiving.discard_until_end(came.resolve, None)
        return came

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
        upgraded = Socket(
            self._target,
            make_options(self._options, changes),
            origin=self,
            accepted=self._accepted,
            relays=self._relays,
        )
        upgraded._wrapper = wrapper
        if self._lifecycle.can_upgrade:
            self._upgrade = upgraded
            self.on(Event.START_TLS)
        else:  # S14, V12: our side has ended, or the connection failed
            failed = self._lifecycle.phase is Phase.FAILED
            upgraded.on(Event.CONNECT_FAILED, self.error if failed else ClosedError(WRITABLE_CLOSED))
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
