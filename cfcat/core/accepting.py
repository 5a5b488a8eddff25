"""`listen()` and `serve()`: connections that come in, as sockets with the API of those that go out.

Source: inbound rules I1-I4, I24-I30, I36, I43; differences V21-V24, V26.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket as stdlib
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, Unpack

import cfcat.core.hangups  # noqa: F401  # the sockets need it, when the last descriptor may be a client's
from cfcat.core.address import ANYWHERE, UNIX, SocketAddress, Target, format_address, parse_given
from cfcat.core.dial import addresses_of
from cfcat.core.listen import Accepted, Door, NameDoor, TcpDoor, UnixDoor
from cfcat.core.options import Changes, SocketOptions, make_options
from cfcat.core.promise import Promise
from cfcat.core.race import Address
from cfcat.core.sockets import Socket, SocketInfo, adopt
from cfcat.core.waiting import settled, while_moving
from cfcat.errors import ConnectError, ListenError, OptionsError, reason_of

if TYPE_CHECKING:
    import asyncio

__all__ = ["OUT_OF_SOMETHING_S", "Listener", "listen", "serve"]

STAR = "*:"  # every address of this machine
HANDSHAKE_S = 30.0  # a client that says nothing must not be kept for ever (not I48)
MOST_HANDSHAKES = 256  # under way at a time; the others wait in the backlog
OUT_OF_SOMETHING_S = 0.25  # no descriptors, no memory: until then somebody may have given some back
PORT_TRIES = 10  # the port that the kernel chose for one family may be taken in the other
Where = TypeVar("Where")  # what a kind of door is made of: an address, or a path


def listen(
    address: str | SocketAddress,
    options: SocketOptions | Mapping[str, object] | None = None,
    **changes: Unpack[Changes],
) -> Listener:
    """Make a listener; `async with` begins to listen, `async for` yields its connections, opened already.

    `address` is `"host:port"`, `"*:port"` for every address of this machine, `"unix:/path"` or, on Linux,
    `"unix:@name"`; port 0 lets the system choose. A name is listened on at all its addresses. Options are those of
    `connect()`: `secure_transport="on"` does the handshake as the server, with the context `tls` (see
    `make_server_context`), before a connection is yielded; "starttls" yields sockets whose `start_tls()` does it.
    `connect_timeout` is the deadline of a handshake, 30 s where it is not given. Connections are half-open unless
    `allow_half_open=False` is given (I10).

    Raises:
        AddressError: the address cannot be parsed.
        OptionsError, TypeError: as `connect()`; or there is no server's context where TLS was asked for.
    """
    hosts: tuple[str, ...] = ()
    if isinstance(address, str) and address.startswith(UNIX):
        target = Target(address, "", 0)
    elif isinstance(address, str) and address.startswith(STAR):
        hosts = ANYWHERE
        target = parse_given(address.replace("*", ANYWHERE[0], 1))
    else:
        target = parse_given(address)
    given = options if isinstance(options, Mapping) else {}
    resolved = make_options(options, {"allow_half_open": True, **given, **changes})
    if resolved.policy is not None:
        raise OptionsError("a policy is for connect(): it says where a Worker may connect to (rule P8)")
    for name in ("via", "source", "resolve", "proxy_protocol"):
        if getattr(resolved, name) is not None:
            raise OptionsError(f"{name} is for connect()")
    if resolved.secure_transport != "off":
        _check_context(resolved)
        if resolved.connect_timeout is None:
            resolved = resolved._replace(connect_timeout=HANDSHAKE_S)
    return Listener(target, resolved, hosts=hosts)


def _check_context(options: SocketOptions) -> None:
    if options.tls is None:
        mode = options.secure_transport
        raise OptionsError(f"secure_transport={mode!r} needs a server's context: tls=make_server_context()")
    import ssl  # lazy: it has a context

    if options.tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise OptionsError("tls is a client's context; make_server_context() makes a server's")


class Listener:
    """Where connections come in. Made by `listen()`, used in `async with`; leaving that stops listening, then ends
    what is open: in order, or where the block raised with a reset.

    States: made → listening (`start`) → closed (`close`), for good.
    """

    def __init__(
        self, target: Target, options: SocketOptions, *, hosts: tuple[str, ...] = (), relays: bool = False
    ) -> None:
        self._target = target
        self._relays = relays
        self._options = options
        self._hosts = hosts
        self._doors: list[Door] = []
        self._accepted: list[Accepted] = []  # by the doors, and not handed out yet
        self._opening: list[Socket] = []  # a handshake is under way
        self._open: set[Socket] = set()

    def __repr__(self) -> str:
        return f"<Listener {', '.join(self.local_addresses) or self._target.text}>"

    @property
    def local_address(self) -> str:
        """`ip:port` with the real port, or `unix:PATH`; of several addresses the first; "" before it listens."""
        return self.local_addresses[0] if self._doors else ""

    @property
    def local_addresses(self) -> tuple[str, ...]:
        """All of them: a name may have an address of IPv4 and one of IPv6."""
        return tuple(door.text for door in self._doors)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ListenError: the address is in use, not this machine's, not allowed, or no address at all.
        """
        if self._target.text.startswith(UNIX):
            path = self._target.text.removeprefix(UNIX)
            kind: Callable[[str], Door] = NameDoor if path.startswith("@") else UnixDoor
            self._doors = [self._door(self._target.text, kind, path)]
            return
        try:
            addresses = await self._addresses()
        except ConnectError as error:
            raise ListenError(f"cannot listen on {error.detail}") from error
        for tries_left in reversed(range(PORT_TRIES if self._target.port == 0 else 1)):
            try:
                self._start_on(addresses)
                break
            except BaseException as error:
                self.close()
                if not (tries_left and isinstance(error, ListenError) and error.errno == errno.EADDRINUSE):
                    raise

    async def _addresses(self) -> list[Address]:
        family = self._options.address_family
        if not self._hosts:
            return await addresses_of(self._target, family)
        found: list[Address] = []
        for host in self._hosts:
            if family is None or (family == "ipv6") is (":" in host):
                text = format_address(host, self._target.port)
                found += await addresses_of(Target(text, host, self._target.port), None)
        return found

    def _start_on(self, addresses: list[Address]) -> None:
        """On each address that this machine has; the port that the first one got is that of all."""
        failure: ListenError | None = None
        port = self._target.port
        for address in addresses:
            there = Address(address.family, (address.ip, port, *address.sockaddr[2:]))
            try:
                door = self._door(there.text, TcpDoor, there)
            except ListenError as error:
                if not error.is_missing:
                    raise
                failure = error  # such as ::1 where there is no IPv6
            else:
                self._doors.append(door)
                port = int(door.text.rpartition(":")[2])
        if not self._doors and failure is not None:
            raise failure

    def _door(self, text: str, kind: Callable[[Where], Door], where: Where) -> Door:
        try:
            return kind(where)
        except (OSError, ValueError) as error:
            raise ListenError(f"cannot listen on {text}: {reason_of(error)}") from error

    # ---- connections

    def use(self, options: SocketOptions) -> None:
        """For `Clients`: the connections that are accepted from now on have these."""
        self._options = options

    async def accept(self) -> Socket:
        """Return the next connection, which under TLS may still be opening: its `opened` tells.

        Raises:
            ListenError: none can be accepted now, such as for want of descriptors.
        """
        return self.adopt(await self.take())

    async def take(self) -> Accepted:
        """Return the next connection as it is; `adopt()` makes a socket of it. Raises as `accept()`."""
        while not self._accepted:
            await self._wait(())
        return self._accepted.pop(0)

    def give_back(self, accepted: Accepted) -> None:
        """Let this one, which was taken and is as it came, be the next."""
        self._accepted.insert(0, accepted)

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Socket:
        while True:
            for socket in [each for each in self._opening if each.opened.done()]:
                self._opening.remove(socket)
                if (error := socket.opened.exception()) is None:
                    return socket
                _log(f"{socket.peer}: {error}")
            while self._accepted:
                self._opening.append(self.adopt(self._accepted.pop(0)))
            if any(each.opened.done() for each in self._opening):
                continue
            opening = [each.opened for each in self._opening]
            try:
                await self._wait(opening)
            except ListenError as error:
                _log(str(error))
                await settled(opening, OUT_OF_SOMETHING_S)

    async def _wait(self, opening: list[Promise[SocketInfo]] | tuple[()]) -> None:
        """Wait for a connection, or until one of these has opened."""
        may_accept = len(opening) < MOST_HANDSHAKES
        waits = [door.accept() for door in self._doors] if may_accept else []
        if not waits and not opening:
            raise ListenError(f"{self._target.text}: not listening")
        failure: BaseException | None = None
        try:
            await settled([*waits, *opening])
        finally:
            for wait in waits:
                if not wait.done():
                    wait.cancel()
                elif (error := wait.exception()) is not None:
                    failure = error
                else:
                    self._accepted.append(self._watched(wait.result()))
        if failure is not None and not self._accepted:
            raise ListenError(f"cannot accept a connection: {reason_of(failure)}") from failure

    def _watched(self, accepted: Accepted) -> Accepted:
        """The same, telling what passes to whom the options name."""
        if self._options.capture is None:
            return accepted
        from cfcat.core.watched import WatchedSocket  # lazy: most connections are not watched

        with contextlib.suppress(OSError):  # it was reset already, which a read will tell
            return accepted._replace(sock=WatchedSocket(accepted.sock, self._options.capture, accepted=True))
        return accepted

    def adopt(self, accepted: Accepted) -> Socket:
        """Make a socket of a connection, whose handshake begins where there is one."""
        sock, remote = accepted
        local = _local_address(sock)
        host, _, port = remote.rpartition(":")
        target = Target(remote or local, host.strip("[]"), int(port) if port else 0)
        socket = adopt(sock, target, self._options, SocketInfo(remote, local), relays=self._relays)
        self._keep(socket)
        return socket

    def _keep(self, socket: Socket) -> None:
        """Count a socket as open until it is over. If it was upgraded, the new socket counts from then on."""
        self._open.add(socket)
        socket.over.add_done_callback(lambda _: self._over(socket))

    def _over(self, socket: Socket) -> None:
        self._open.discard(socket)
        if socket.latest is not socket:
            self._keep(socket.latest)

    # ---- the end

    def close(self) -> None:
        """Stop listening. Connections that were not handed out yet are dropped; those handed out go on."""
        for door in self._doors:
            door.close()
        self._doors.clear()
        for accepted in self._accepted:
            accepted.sock.close()
        self._accepted.clear()
        for socket in self._opening:
            socket.abort()
        self._opening.clear()

    async def __aenter__(self) -> Listener:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            still_open = list(self._open)
            for socket in still_open:
                socket.close()  # all at once; each is then given its time
            for socket in still_open:
                await _close(socket)
        for socket in list(self._open):
            socket.abort()


async def serve(
    handler: Callable[[Socket], Awaitable[object]],
    address: str | SocketAddress,
    options: SocketOptions | Mapping[str, object] | None = None,
    *,
    ready: Callable[[str], object] | None = None,
    **changes: Unpack[Changes],
) -> None:
    """Call the handler for each connection, in a task of its own, until this is cancelled: a Worker's `connect()`.

    `address` and options are those of `listen()`; `ready` is told the address once it listens. The end of a handler
    ends its socket: what it has written goes out first as long as the client takes it, and pipes under way end by
    themselves (V23). Its exception resets the connection, goes to the loop's exception handler, and the server goes on.

    Raises:
        AddressError, OptionsError, TypeError, ListenError: as `listen()` and `Listener.start()`.
    """
    import asyncio  # lazy: handlers have it

    if not callable(handler):
        raise TypeError(f"the handler is a coroutine function that takes a socket, not {type(handler).__name__}")
    tasks: set[asyncio.Task[None]] = set()
    async with listen(address, options, **changes) as listener:
        if ready is not None:
            ready(listener.local_address)
        try:
            async for socket in listener:
                task = asyncio.create_task(_handle(handler, socket))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _handle(handler: Callable[[Socket], Awaitable[object]], socket: Socket) -> None:
    import asyncio  # lazy: as above

    try:
        handled = handler(socket)
        if not isinstance(handled, Awaitable):
            raise TypeError("the handler must be a coroutine function: async def")
        await handled
        await _end(socket)
    except asyncio.CancelledError:
        socket.latest.abort()
        raise
    except Exception as error:
        socket.latest.abort()
        context = {"message": f"{socket.peer}: the handler failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


async def _end(socket: Socket) -> None:
    """End a handler's socket: pipes under way first, then as `_close`."""
    socket = socket.latest
    pipes = [pipe for pipe in (socket.readable.pipe, socket.writable.pipe) if pipe is not None]
    for pipe in pipes:
        while not pipe.done():
            await settled([pipe])
    await _close(socket)


async def _close(socket: Socket) -> None:
    """Close in order; a client that takes nothing more is dropped."""
    if not await while_moving(socket.close(), lambda: socket.moved_bytes):
        socket.abort()


def _local_address(sock: stdlib.socket) -> str:
    name = sock.getsockname()
    if sock.family != stdlib.AF_UNIX:
        return format_address(*name[:2])
    return f"{UNIX}@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else f"{UNIX}{name}"


def _log(text: str) -> None:
    import logging  # lazy: a failure only

    logging.getLogger("cfcat").info("%s", text)
