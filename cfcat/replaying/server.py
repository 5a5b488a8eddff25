"""`replay()`: a server made of a transcript, for tests."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from cfcat.core.accepting import HANDSHAKE_S, Listener
from cfcat.core.address import parse_address
from cfcat.core.job import Job
from cfcat.core.loop import running_loop
from cfcat.core.options import SocketOptions
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket
from cfcat.core.waiting import settled
from cfcat.errors import OptionsError, expect_list
from cfcat.record.replaying import Recorded
from cfcat.record.subscribers import Subscribers
from cfcat.replaying.player import WAIT_S, Player, Rules
from cfcat.replaying.reading import agreed_alpn, names_asked_for, open_recorded
from cfcat.tap.run import serve_clients

if TYPE_CHECKING:
    import ssl

__all__ = ["accepting_options", "replay"]


@contextlib.asynccontextmanager
async def replay(
    transcript: str | os.PathLike[str],
    *,
    address: str = "127.0.0.1:0",
    connection: int | None = None,
    ignore: Sequence[str | bytes] = (),
    wait: float = WAIT_S,
    tls: ssl.SSLContext | None = None,
    ca_out: str | os.PathLike[str] | None = None,
) -> AsyncIterator[str]:
    """Play the server of a recorded connection to each client that comes; yields where, as `host:port`.

    `transcript`: a file that `--log`, `:log` or the tap has kept. `connection`: which one of it; None: the first.
    `ignore`: regular expressions for what a client may say otherwise, within a line. `wait`: seconds for what a client
    is to say or do next. TLS begins where it did, with the context `tls`, or with a certificate that is made for this
    block, and whose authority is written to the file `ca_out`.

    At the end of the block clients have `wait` seconds to end; then it raises the first thing that went wrong. What the
    block raises has that for a note.

    Raises:
        TranscriptError: the file cannot be read, or is damaged. ListenError: nobody can listen there.
        OptionsError: a regular expression that is none, or as `make_server_context()`.
        DifferenceError: a client did something else than was recorded. TlsError: it did not do the handshake.
    """
    expect_list("ignore", ignore)
    recorded = open_recorded(transcript, connection, "server")
    rules = Rules(os.path.basename(os.fspath(transcript)), [*map(_compiled, ignore)], wait)
    context = (tls or _made(recorded, ca_out)) if recorded.tls_with("client") else None
    listener = Listener(parse_address(address), accepting_options(HANDSHAKE_S), relays=True)
    await listener.start()
    under_way: set[Promise[None]] = set()
    failures: list[Exception] = []

    async def play(number: int, client: Socket) -> int:
        over: Promise[None] = Promise(running_loop())
        under_way.add(over)
        player = Player(client, recorded, "server", rules, Subscribers(), context, handshake_s=HANDSHAKE_S)
        try:
            await player.run()
        except Exception as error:
            failures.append(error)
        finally:
            under_way.discard(over)
            over.resolve(None)
        return 0

    serving = Job(running_loop(), serve_clients(listener, play, once=False, trouble=lambda _: None))
    try:
        yield listener.local_address
        while under_way:
            await settled(list(under_way))
    except Exception as error:
        for failure in failures[:1]:  # it may be the reason
            error.add_note(f"replay of {rules.name}: {failure}")
        raise
    finally:
        serving.cancel()
        listener.close()
    if failures:
        raise failures[0]


def accepting_options(handshake_s: float) -> SocketOptions:
    """How a replay accepts its clients."""
    return SocketOptions(secure_transport="starttls", allow_half_open=True, connect_timeout=handshake_s)


def _compiled(pattern: str | bytes) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.MULTILINE)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise OptionsError(f"ignore: {error}") from error


def _made(recorded: Recorded, ca_out: str | os.PathLike[str] | None) -> ssl.SSLContext:
    from cfcat.core.server_context import make_server_context  # lazy: ssl

    return make_server_context(names=names_asked_for(recorded), alpn=agreed_alpn(recorded), ca_out=ca_out)
