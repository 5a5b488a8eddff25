"""A client that comes through a proxy: its PROXY header, read before anything else of the connection."""

from __future__ import annotations

from cfcat.core.channel import Channel
from cfcat.core.converse import SAID_BYTES, converse
from cfcat.core.listen import Accepted
from cfcat.core.loop import running_loop
from cfcat.core.waiting import in_time
from cfcat.errors import ProxyError
from cfcat.proxies.dialog import Refusal
from cfcat.proxies.header import read_header

__all__ = ["named"]


async def named(accepted: Accepted, limit_s: float | None) -> Accepted:
    """The same connection, under the name of the client that its header has; its own where that has none.

    Raises:
        ProxyError: there is none, or not in time; the connection is closed. It concerns this client alone.
    """
    sock, remote = accepted
    whose = remote or "the client"
    try:
        client = await in_time(limit_s, converse(read_header(), Channel(running_loop(), sock)))
    except Refusal as refusal:
        text = "the client left without a PROXY header" if refusal.kind == "ended" else refusal.text
        sock.close()
        raise ProxyError(f"{whose}: {text}", f"{whose}: {text}", said=refusal.said[:SAID_BYTES]) from refusal.__cause__
    except TimeoutError as error:
        sock.close()
        text = f"{whose}: no PROXY header after {limit_s:g} s"
        raise ProxyError(text, text) from error
    except BaseException:
        sock.close()
        raise
    return Accepted(sock, client or remote)
