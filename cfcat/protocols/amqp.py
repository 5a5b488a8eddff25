"""AMQP 1.0."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, left

__all__ = ["GREETING", "client", "server"]

GREETING = rb"AMQP[\0-\3]"  # the header that the server would accept
TLS_HEADER = b"AMQP\x02\x01\x00\x00"


def client(names: Names) -> Dialog:
    """OASIS AMQP 1.0 part 5, §5.2: each end sends the header with protocol ID 2, and TLS begins.

    A server that wants it otherwise answers with the header that it would accept (part 2, §2.2).
    """
    yield Send(TLS_HEADER)
    answer = yield Exactly(len(TLS_HEADER), "answer to the TLS header", TLS_HEADER[:1])
    if not answer.startswith(b"AMQP"):
        raise Nonsense(answer)
    if answer != TLS_HEADER:
        raise DialogError(f"the server refused TLS: its header is for protocol {answer[4]}", said=answer)
    return None


def server(names: Names) -> Dialog:
    """OASIS AMQP 1.0 part 5, §5.2: the client's header is answered with the same; after another one all is over."""
    header = yield Exactly(len(TLS_HEADER), "protocol header", TLS_HEADER[:1])
    if not header.startswith(b"AMQP"):
        raise Nonsense(header)
    yield Send(TLS_HEADER)
    if header != TLS_HEADER:
        raise left(f"header for protocol {header[4]}")
    return None
