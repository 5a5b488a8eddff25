"""The dialer that goes through a proxy: it connects to the proxy, under TLS for https, and runs the proxy's dialog.

"socks5h", "socks4a", "http" and "https" get the target's name as it is, and we do not resolve it. The dialogs
are in `cfcat.proxies`. The deadline is the caller's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cfcat.core.address import Target, without_zone
from cfcat.core.channel import Channel, client_codec, shake_hands
from cfcat.core.converse import SAID_BYTES, converse
from cfcat.core.dial import Route, dial_any, failure_message, find, named, need_host, tell
from cfcat.core.loop import running_loop
from cfcat.core.race import Address, Dialed, race
from cfcat.errors import Attempt, ConnectError, ProxyError, TlsError
from cfcat.proxies.dialog import Dialog, Refusal
from cfcat.proxies.http import tunnel
from cfcat.proxies.socks import socks4, socks5
from cfcat.proxies.url import Proxy

if TYPE_CHECKING:
    import socket

    from cfcat.core.layers import Outer
    from cfcat.record.making import Proxied, Trace

__all__ = ["Through"]

HANDSHAKE_READ_BYTES = 64 * 1024


class Through:
    """Dials one connection through a proxy; `missing()` tells what that connection is waiting for.

    `route`: how we find and reach the proxy's addresses and, where the scheme has us resolve it, the target's. Its
    `resolve` counts for every target.

    Raises, when called:
        ProxyError: the proxy refused, did not reach the target, ended, or sent nonsense.
        ConnectError: we did not reach the proxy, or did not find its name.
        TlsError, CertificateError: the handshake with the proxy failed; `proxy` has its address.
        ResolveError: we did not find the target's name.
    """

    def __init__(self, proxy: Proxy, route: Route) -> None:
        self._proxy = proxy
        self._route = route
        self._name = f"proxy {proxy.address}"
        self._place = Target(proxy.address, proxy.host, proxy.port)
        self._found: list[Address] = []  # its addresses
        self._missing = "no connection"
        self._events: dict[socket.socket, Proxied] = {}

    async def __call__(self, target: Target, *, trace: Trace | None) -> Dialed:
        need_host(target)
        with self._telling(target):
            self._found = await find(self._place, self._route, trace=trace)
        if self._proxy.resolves_here or named(target, self._route):
            dialed = await self._by_address(target, trace)
        else:
            try:
                dialed = await self._connect(target, trace)
            except Refusal as refusal:
                raise self._error(target, refusal) from refusal.__cause__
        if trace is not None:
            trace(self._events[dialed.sock])
        return dialed

    def missing(self, target: Target) -> str:
        return f"{self._name}: {self._missing}"

    # ---- where we resolve the target

    async def _by_address(self, target: Target, trace: Trace | None) -> Dialed:
        """Resolve the target and race its addresses."""
        route = self._route._replace(family="ipv4") if not self._proxy.has_ipv6 else self._route
        addresses = await find(target, route, trace=trace)
        dialed, attempts = await race(addresses, partial(self._reach, target, trace), trace)
        if dialed is None:
            reasons = "; ".join(filter(None, tell(target, attempts)))
            refusal = Refusal(f"it could not reach {target.text} ({reasons})", kind="target")
            raise self._error(target, refusal, attempts) from attempts[-1].error
        return dialed

    async def _reach(self, target: Target, trace: Trace | None, address: Address) -> Dialed:
        """A `Reach`: one address of the target, by a connection to the proxy of its own."""
        try:
            return await self._connect(Target(target.text, address.ip, target.port), trace)
        except Refusal as refusal:
            if refusal.kind == "target":
                raise OSError(refusal.reason) from None
            raise self._error(target, refusal) from refusal.__cause__

    # ---- one connection

    async def _connect(self, target: Target, trace: Trace | None) -> Dialed:
        """Connect through the proxy to a name or an address. Raises Refusal, and the errors of this dialer."""
        self._missing = "no connection"
        with self._telling(target):
            sock, round_trip_s, outer = await dial_any(self._place, self._found, self._route, trace)
        began = time.monotonic()
        try:
            channel = Channel(running_loop(), sock)
            if self._proxy.scheme == "https":
                outer = await self._secure(channel, sock, target)
                channel = outer.channel(channel)
            self._missing = "no answer"
            bound = await converse(self._dialog(target), channel)
        except BaseException:
            sock.close()
            raise
        took_s = time.monotonic() - began
        if trace is not None:
            from cfcat.record.making import Proxied  # lazy: most runs tell nobody

            tls = "" if outer is None else outer.describe()
            self._events[sock] = Proxied(self._proxy.text, target.text, took_s, bound, tls)
        return Dialed(sock, round_trip_s + took_s, outer)

    @contextlib.contextmanager
    def _telling(self, target: Target) -> Iterator[None]:
        """Let a ConnectError of this block name the proxy. A ResolveError becomes one: it is for the target's name."""
        try:
            yield
        except ConnectError as error:
            detail = f"proxy {error.detail}"
            raise ConnectError(failure_message(target.port), detail, error.attempts) from error.__cause__

    async def _secure(self, channel: Channel, sock: socket.socket, target: Target) -> Outer:
        from cfcat.core.context import default_context  # lazy: ssl
        from cfcat.core.layers import Outer
        from cfcat.core.watched import hiding, holding

        self._missing = "the TLS handshake was not complete"
        context = self._proxy.tls or default_context()
        try:
            codec = client_codec(context, without_zone(self._proxy.host).rstrip("."), ignore_unexpected_eof=True)

            async def send() -> None:
                await channel.send(codec.answer())

            async def receive() -> None:
                codec.receive(await channel.receive(HANDSHAKE_READ_BYTES))

            # A capture gets no keys where credentials follow: they would open these, too.
            with holding(sock, context) if self._proxy.user is None else hiding(sock):
                await shake_hands(codec, send, receive)
        except TlsError as error:
            error.proxy = self._proxy.address
            error.detail, error.message = error.message, failure_message(target.port)
            raise
        return Outer(codec, self._name)

    def _dialog(self, target: Target) -> Dialog:
        user, password = self._proxy.user, self._proxy.password or ""
        if self._proxy.scheme in ("socks5", "socks5h"):
            return socks5(target, user, password)
        if self._proxy.scheme in ("socks4", "socks4a"):
            return socks4(target, user)
        return tunnel(target, user, password)

    def _error(self, target: Target, refusal: Refusal, attempts: Sequence[Attempt] = ()) -> ProxyError:
        return ProxyError(
            failure_message(target.port),
            f"{self._name}: {refusal.text}",
            attempts,
            said=refusal.said[:SAID_BYTES],
            kind=refusal.kind,
        )
