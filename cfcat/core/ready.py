"""Is the peer ready? `wait_for()` in the library, `--wait` and `--check` on the command line.

A connection alone proves little: a proxy such as docker's accepts for a server that is not there, and ends at once. So
`stay()` watches the first moment of a connection, and `keep_trying()` tries again, until a deadline, what may pass.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar, Unpack

from cfcat.core.address import SocketAddress, parse_address
from cfcat.core.options import Changes, SocketOptions
from cfcat.core.sockets import Socket, connect
from cfcat.core.waiting import in_time, settled, sleep
from cfcat.errors import ConnectTimeout, EarlyEndError, LostError, SocketError, TruncatedError

__all__ = ["EARLY_S", "keep_trying", "stay", "wait_for"]

T = TypeVar("T")

# A proxy that cannot reach its server ends within milliseconds on the same machine, within a round trip elsewhere.
EARLY_S = 0.25
# The pause after the first failure; each is twice as long as the one before, up to the longest.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0
# An error quotes so much of what a peer said before it left.
SAID_BYTES = 80
EARLY_END = "it accepted and closed at once"


async def wait_for(
    address: str | SocketAddress,
    options: SocketOptions | Mapping[str, object] | None = None,
    *,
    until: Callable[[Socket], Awaitable[object]] | None = None,
    timeout: float,
    **changes: Unpack[Changes],
) -> Socket:
    """Connect as `connect()` does, again and again until a connection lasts; return its open socket.

    It tries again what may pass by itself: no such name, no connection, a handshake or a certificate that fails, a
    reset, and an end within the first quarter of a second. A byte from the peer proves life at once, and stays to be
    read. `until` is called with each socket that has opened, to look for more than a connection, such as the right
    greeting. If it returns something false, or raises a SocketError or TimeoutError, another connection is made.
    Otherwise the socket is returned as `until` left it.

    Raises:
        SocketError: the last attempt's, after `timeout` seconds; or one that would come again.
        ConnectTimeout: the first attempt had not ended by then, or `until` never returned something true.
        What else `until` raises, and what `connect()` itself raises.
    """
    target = parse_address(address).text

    async def attempt() -> Socket:
        socket = connect(address, options, **changes)
        with _aborting(socket):
            await socket.opened
            await stay(socket)
            if until is not None and not await _asked(until, socket):
                raise ConnectTimeout(f"{target}: not ready", f"{target}: it connects, but is not ready")
        return socket

    return await keep_trying(attempt, timeout, target, lost=Socket.abort)


@contextlib.contextmanager
def _aborting(socket: Socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        socket.abort()
        raise


async def _asked(until: Callable[[Socket], Awaitable[object]], socket: Socket) -> object:
    """Call `until` in an asyncio task of its own, so that it may use `asyncio.timeout()` and the like."""
    import asyncio  # lazy: pipes do without

    task = asyncio.ensure_future(until(socket))
    try:
        return await task
    except SocketError as error:
        error.may_pass = True
        raise
    except TimeoutError:
        return False
    finally:
        task.cancel()


async def keep_trying(
    attempt: Callable[[], Coroutine[Any, Any, T]],
    limit_s: float,
    target: str,
    *,
    failed: Callable[[SocketError], object] = lambda error: None,
    lost: Callable[[T], object] | None = None,
) -> T:
    """Call `attempt` until it succeeds, for `limit_s` seconds; the deadline cancels an attempt that is under way.

    `failed` is told of each error after which there may be another attempt. `lost`: as for `in_time()`.

    Raises:
        SocketError: the last one before the deadline; or one that would come again.
        ConnectTimeout: no attempt had ended by then.
    """
    until_s, pause_s = time.monotonic() + limit_s, FIRST_PAUSE_S
    last: SocketError | None = None
    while (left_s := until_s - time.monotonic()) > 0:
        try:
            return await in_time(left_s, attempt(), lost=lost)
        except SocketError as error:
            if not error.may_pass:
                raise
            last = error
            failed(error)
        except TimeoutError:
            break
        await sleep(max(0.0, min(pause_s, until_s - time.monotonic())))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    if last is not None:
        raise last
    detail = f"{target}: not ready after {limit_s:g} s"
    raise ConnectTimeout(detail, detail, while_waiting=True)


async def stay(socket: Socket, *, heard: Callable[[bytes], object] | None = None) -> None:
    """Return when an open socket has lasted for EARLY_S, or when a byte has come; the byte stays to be read.

    `heard` takes what comes instead, and then only the time counts.

    Raises:
        EarlyEndError: the peer ended or reset the connection.
        TlsError: the peer refused us after the handshake, as TLS 1.3 allows.
    """
    until_s = time.monotonic() + EARLY_S
    reader, said = socket.readable.get_reader(), b""
    try:
        while (left_s := until_s - time.monotonic()) > 0:
            read = reader.read()
            try:
                await settled([read], left_s)
                chunk = read.result() if read.done() else None
            finally:
                read.cancel()
            if chunk is None:
                return
            if not chunk:
                raise EarlyEndError(detail=EARLY_END)
            if heard is None:
                socket.readable.give_back(chunk)
                return
            said = (said + chunk)[:SAID_BYTES]
            heard(chunk)
    except (LostError, TruncatedError) as error:
        early = EarlyEndError(detail=EARLY_END)
        early.said = said
        raise early from (None if isinstance(error, EarlyEndError) else error)
    finally:
        reader.release_lock()
