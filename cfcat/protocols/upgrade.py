"""From a clear-text socket to TLS, by the dialog of a protocol: `open_upgraded` and `upgrade`.

The side of `starttls` that waits: it moves a dialog's bytes over the streams, up to the go-ahead, and waits for the
handshake, all under one deadline (SEC-R7). On a socket that was accepted it is the server's half. Pipe mode and the
interactive session use it alike. What the server said stays here (SEC-R2).
"""

from __future__ import annotations

import contextlib
import math
import socket as sockets
from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple

from cfcat.core.address import UNIX, parse_address, without_zone
from cfcat.core.options import SocketOptions
from cfcat.core.sockets import Socket, SocketInfo
from cfcat.core.waiting import in_time
from cfcat.errors import ConnectTimeout, DialogError, LostError, TlsError
from cfcat.protocols import DialogRun, HandshakeWrapper, Names, Protocol
from cfcat.protocols.helo import own_helo_name
from cfcat.record.events import Direction

__all__ = ["Direction", "Earlier", "UpgradeStep", "converse", "names_for", "open_upgraded", "upgrade"]

CONNECTION, DIALOG = "the connection", "dialog"
UpgradeStep = Literal["starttls", "tls"]
Heard = Callable[[Direction, bytes], None]
# A step begins: the dialog, on a socket that is open now; or the handshake, of the socket that replaces it.
Entered = Callable[[UpgradeStep, Socket], None]


class Earlier(NamedTuple):
    """The first bytes that came on a connection; `unasked`: how many of them came before anything was sent."""

    data: bytes
    unasked: int


NOTHING_EARLIER = Earlier(b"", 0)


async def open_upgraded(
    socket: Socket,
    target: str,
    options: SocketOptions,
    protocol: Protocol,
    *,
    helo: str | None = None,
    heard: Heard | None = None,
    entered: Entered | None = None,
) -> Socket:
    """Wait for a new socket to open, run the dialog and upgrade; return the socket that has TLS.

    `target` is what messages call the peer; `options` are those of the socket: its deadline holds for all of it.
    `helo`: what EHLO and LHLO say we are called, in place of `own_helo_name`. `heard`: as for `converse`. Where it
    fails, both sockets are dropped.

    Raises:
        SocketError: as `Socket.opened` and `upgrade`.
    """
    waiting = [CONNECTION]

    async def work() -> Socket:
        await socket.opened
        return await _upgrade(socket, options, protocol, waiting, helo=helo, heard=heard, entered=entered)

    try:
        return await _in_time(target, options, socket, waiting, work())
    except BaseException:
        socket.latest.abort()
        raise


async def upgrade(
    socket: Socket,
    target: str,
    options: SocketOptions,
    protocol: Protocol | None,
    *,
    earlier: Earlier = NOTHING_EARLIER,
    helo: str | None = None,
    heard: Heard | None = None,
    entered: Entered | None = None,
) -> Socket:
    """Upgrade an open socket, with a protocol by its dialog; return the socket that has TLS.

    What fails before the ClientHello leaves the socket in clear text, and both streams unlocked; what fails after it
    is the end of the connection. `earlier`, `heard`: as for `converse`; `helo`: as for `open_upgraded`.

    Raises:
        DialogError, InjectionError: as `converse`.
        TlsError, CertificateError: the handshake failed.
        ConnectTimeout: dialog and handshake took longer than `options.connect_timeout`.
    """
    waiting = [CONNECTION]
    work = _upgrade(socket, options, protocol, waiting, earlier=earlier, helo=helo, heard=heard, entered=entered)
    return await _in_time(target, options, socket, waiting, work)


async def _upgrade(
    socket: Socket,
    options: SocketOptions,
    protocol: Protocol | None,
    waiting: list[str],
    *,
    earlier: Earlier = NOTHING_EARLIER,
    helo: str | None = None,
    heard: Heard | None = None,
    entered: Entered | None = None,
) -> Socket:
    wrapper = None
    if protocol is not None:
        waiting[0] = f"the {protocol.title} {DIALOG}"
        if entered is not None:
            entered("starttls", socket)
        names = _names(socket, await socket.opened, options, helo)
        wrapper = await converse(socket, protocol, names, heard=heard, earlier=earlier)
    waiting[0] = "the TLS handshake"
    secure = socket.start_tls(wrapper=wrapper)
    try:
        if entered is not None:
            entered("tls", secure)
        await secure.opened
    except LostError as error:  # behind the go-ahead, before the handshake had begun
        failure = TlsError(f"{error.detail} during the TLS handshake", reason="RESET")
        failure.upgrading, failure.by_client = True, socket.accepted
        raise failure from error
    except BaseException:
        secure.abort()
        raise
    return secure


async def _in_time(
    target: str, options: SocketOptions, socket: Socket, waiting: list[str], work: Coroutine[Any, Any, Socket]
) -> Socket:
    """Do it under one deadline; the one element of `waiting` names what is being waited for (SEC-R7). `socket`: the one
    in clear text, on which the dialog is held.
    """
    limit_s = options.connect_timeout
    try:
        return await in_time(limit_s, work)
    except ConnectTimeout:
        raise
    except TimeoutError as error:
        what = socket.missing if waiting[0] is CONNECTION else f"{target}: {waiting[0]} was not complete"
        detail = f"{what} after {limit_s:g} s"
        timeout = ConnectTimeout(detail, detail)
        if waiting[0].endswith(DIALOG) and math.isinf(socket.quiet_s):
            timeout.silent_in = "dialog"
        raise timeout from error


def _names(socket: Socket, info: SocketInfo, options: SocketOptions, helo: str | None) -> Names:
    sni = options.expected_server_hostname
    if socket.accepted:
        name = sni or own_helo_name(sockets.gethostname(), _host_of(info.local_address))
        return Names(client_name=name, server_name=name)
    return names_for(socket.hostname, _host_of(info.local_address), sni=sni, helo=helo)


def _host_of(address: str) -> str:
    """The host of an end; a Unix socket is on this one."""
    return "127.0.0.1" if not address or address.startswith(UNIX) else parse_address(address).host


def names_for(host: str, local: str, *, sni: str | None = None, helo: str | None = None) -> Names:
    """Who says EHLO, and whom XMPP asks for.

    `host`: what was connected to. `local`: the address of our end. `sni`: the name to verify, where it is another one.
    `helo`: as for `open_upgraded`.
    """
    return Names(
        client_name=helo or own_helo_name(sockets.gethostname(), local),
        server_name=(sni or without_zone(host) or "localhost").removesuffix("."),  # RFC 7622 §3.2
    )


async def converse(
    socket: Socket,
    protocol: Protocol,
    names: Names,
    *,
    heard: Heard | None = None,
    earlier: Earlier = NOTHING_EARLIER,
) -> HandshakeWrapper | None:
    """Run the dialog up to its go-ahead; returns what `start_tls()` takes as `wrapper`.

    `heard` is told every message of the dialog as it goes: "sent" or "received", and the bytes; never what the dialog
    did not listen to, such as bytes after the go-ahead (SEC-R1). `earlier`: what has been read already; what of it is
    the server's greeting is the beginning of what the dialog reads, with all its rules and limits, and `heard` is not
    told of it again.

    However it ends, both streams are unlocked: after a DialogError the session may go on in clear text.

    Raises:
        DialogError: there was no go-ahead: refused, nonsense, the end of the connection, a limit (SEC-R2, SEC-R7).
        InjectionError: there was clear text after it (SEC-R1). Nothing but the dialog has been sent in any case.
    """
    conversation = DialogRun(protocol, names, as_server=socket.accepted)
    reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
    tell = heard or (lambda direction, data: None)
    is_silent = not (earlier.data or socket.accepted)
    try:
        known = 0 if socket.accepted else conversation.feed_earlier(*earlier)
        while True:
            if data := conversation.to_send():
                tell("sent", data)
                await writer.write(data)
            if conversation.done:
                break
            data = await reader.read()
            is_silent = is_silent and not data
            if socket.accepted and 0 < (size := conversation.wanted) < len(data):
                # A client's hello may come right behind its last message: it is for the handshake.
                socket.readable.give_back(data[size:])
                data = data[:size]
            try:
                conversation.feed(data)
            except DialogError:
                if last := conversation.to_send():  # who is refused, or leaves, hears why
                    tell("sent", last)
                    with contextlib.suppress(LostError):  # if it is still there
                        await writer.write(last)
                raise
            finally:
                said = conversation.heard()
                if new := said[known:]:
                    tell("received", new)
                known = max(0, known - len(said))
    except DialogError as error:
        error.silent_in = "dialog" if is_silent else None
        raise
    except LostError as error:
        failure = DialogError(f"{error.detail} during the {protocol.title} dialog")
        failure.silent_in = "dialog" if is_silent else None
        raise failure from error
    finally:
        reader.release_lock()
        writer.release_lock()
    return conversation.wrapper
