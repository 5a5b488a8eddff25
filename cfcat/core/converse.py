"""A dialog of `cfcat.proxies`, carried out on a channel: it is sent what it says, and hears what it waits for."""

from __future__ import annotations

from typing import TypeVar

from cfcat.core.channel import Channel
from cfcat.errors import SocketError, reason_of
from cfcat.proxies.dialog import Refusal, Secret, Step

__all__ = ["SAID_BYTES", "converse"]

T = TypeVar("T")

SAID_BYTES = 512  # of what makes no sense, for the message


async def converse(dialog: Step[T], channel: Channel) -> T:
    """Carry out a dialog; return what it returns.

    Raises:
        Refusal: as the dialog; also of the kind "ended", where the other end closes or resets the connection.
        TlsError: what came is no TLS.
    """
    answer: bytes | None = None
    try:
        while True:
            request = next(dialog) if answer is None else dialog.send(answer)
            if isinstance(request, int):
                answer = await _exactly(channel, request)
            else:
                await channel.send(request, request.shown if isinstance(request, Secret) else None)
                answer = b""
    except StopIteration as stop:
        outcome: T = stop.value
        return outcome
    except Refusal as refusal:
        if refusal.kind == "nonsense":
            refusal.said += channel.here(SAID_BYTES)
        raise
    except SocketError:
        raise
    except OSError as error:
        raise Refusal(f"{reason_of(error)} instead of an answer", kind="ended") from error


async def _exactly(channel: Channel, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await channel.receive(size - len(data))
        if not chunk:
            raise Refusal("it closed the connection instead of answering", kind="ended")
        data += chunk
    return data
