"""From a clear-text socket to the moment of its upgrade, by the dialog of a protocol.

The asyncio side of `starttls`: it moves a dialog's bytes over the streams, up to the go-ahead. Pipe mode and the
interactive session use it alike. What the server said stays here (R2).
"""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable

from cfcat.core.sockets import Socket
from cfcat.errors import DialogError, LostError
from cfcat.protocols import Conversation, HandshakeWrapper, Names, Protocol
from cfcat.record.events import Direction

__all__ = ["converse", "names_for"]


def names_for(server_name: str) -> Names:
    """Who says EHLO, and whom XMPP asks for: this host's name, or an address literal where it has none."""
    try:
        return Names(sockets.gethostname(), server_name)
    except ValueError:
        return Names("[127.0.0.1]", server_name)


async def converse(
    socket: Socket,
    protocol: Protocol,
    names: Names,
    *,
    heard: Callable[[Direction, bytes], None] | None = None,
    greeting: bytes = b"",
) -> HandshakeWrapper | None:
    """Run the dialog up to its go-ahead; returns what `start_tls()` takes as `wrapper`.

    `heard` is told every message of the dialog as it goes: "sent" or "received", and the bytes; never what the dialog
    did not listen to, such as bytes after the go-ahead (R1). `greeting`: what the server said before anything was sent
    to it, if that has been read already; it is the beginning of what the dialog reads, with all its rules and limits,
    and `heard` is not told of it again.

    However it ends, both streams are unlocked: after a DialogError the session may go on in clear text.

    Raises:
        DialogError: there was no go-ahead: refused, nonsense, the end of the connection, a limit (R2, R7).
        InjectionError: there was clear text after it (R1). Nothing but the dialog has been sent in any case.
    """
    conversation = Conversation(protocol, names)
    reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
    tell = heard or (lambda direction, data: None)
    known = len(greeting)
    try:
        if greeting:
            conversation.feed(greeting)
        while True:
            if data := conversation.to_send():
                tell("sent", data)
                await writer.write(data)
            if conversation.done:
                break
            data = await reader.read()
            try:
                conversation.feed(data)
            finally:
                said = conversation.heard()
                if new := said[known:]:
                    tell("received", new)
                known = max(0, known - len(said))
    except LostError as error:
        raise DialogError(f"{error.detail} during the {protocol.title} dialog") from error
    finally:
        reader.release_lock()
        writer.release_lock()
    return conversation.wrapper
