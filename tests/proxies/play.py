"""Play a dialog with a proxy, in memory."""

from __future__ import annotations

from typing import NamedTuple

from cfcat.core.address import Target, parse_address
from cfcat.proxies.dialog import Dialog

__all__ = ["Played", "at", "play"]


class Played(NamedTuple):
    """`said`: all that we said. `bound`: what the dialog returned; None: it waits for more. `rest`: left unread."""

    said: bytes
    bound: str | None
    rest: bytes


def at(address: str) -> Target:
    return parse_address(address)


def play(dialog: Dialog, answer: bytes) -> Played:
    """Let the proxy say this, whenever it is its turn. Raises what the dialog raises."""
    said, heard = b"", None
    try:
        while True:
            wanted = next(dialog) if heard is None else dialog.send(heard)
            if isinstance(wanted, bytes):
                said, heard = said + wanted, b""
            elif len(answer) < wanted:
                return Played(said, None, answer)
            else:
                heard, answer = answer[:wanted], answer[wanted:]
    except StopIteration as stop:
        return Played(said, stop.value, answer)
