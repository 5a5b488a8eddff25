"""AMQP 1.0 and NBD: protocols whose ends know each other by a magic number."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send

__all__ = ["amqp", "nbd"]

AMQP_TLS = b"AMQP\x02\x01\x00\x00"


def amqp(names: Names) -> Dialog:
    """OASIS AMQP 1.0 part 5, §5.2: each end sends the header with protocol ID 2, and TLS begins.

    A server that wants it otherwise answers with the header that it would accept (part 2, §2.2).
    """
    yield Send(AMQP_TLS)
    answer = yield Exactly(len(AMQP_TLS), "answer to the TLS header", AMQP_TLS[:1])
    if not answer.startswith(b"AMQP"):
        raise Nonsense(answer)
    if answer != AMQP_TLS:
        raise DialogError(f"the server refused TLS: its header is for protocol {answer[4]}", said=answer)
    return None


NBD_MAGIC = b"NBDMAGIC"
NBD_OPTION_MAGIC = b"IHAVEOPT"
NBD_REPLY_MAGIC = bytes.fromhex("0003e889045565a9")
NBD_FIXED_NEWSTYLE = 1  # the same bit from the server and from the client
NBD_OPT_STARTTLS = 5
NBD_REP_ACK = 1
NBD_ERRORS = {
    0x80000001: "NBD_REP_ERR_UNSUP",
    0x80000002: "NBD_REP_ERR_POLICY",
    0x80000003: "NBD_REP_ERR_INVALID",
    0x80000004: "NBD_REP_ERR_PLATFORM",
    0x80000007: "NBD_REP_ERR_SHUTDOWN",
}


def nbd(names: Names) -> Dialog:
    """NBD protocol (doc/proto.md), "Fixed newstyle negotiation" and "TLS support": option 5, NBD_OPT_STARTTLS.

    A client "MUST NOT issue NBD_OPT_STARTTLS" unless the server has said that it knows options at all.
    """
    greeting = yield Exactly(16, "greeting", NBD_MAGIC[:1])
    if not greeting.startswith(NBD_MAGIC):
        raise Nonsense(greeting)
    if greeting[8:] != NBD_OPTION_MAGIC:
        raise DialogError("the server negotiates in the old style, which has no TLS", said=greeting)
    flags = int.from_bytes((yield Exactly(2, "greeting")), "big")
    if not flags & NBD_FIXED_NEWSTYLE:
        raise DialogError("the server does not offer TLS (no fixed newstyle negotiation)")
    option = NBD_OPT_STARTTLS.to_bytes(4, "big")
    yield Send(NBD_FIXED_NEWSTYLE.to_bytes(4, "big") + NBD_OPTION_MAGIC + option + bytes(4))
    answer = yield Exactly(20, "answer to NBD_OPT_STARTTLS", NBD_REPLY_MAGIC[:1])
    kind, length = int.from_bytes(answer[12:16], "big"), int.from_bytes(answer[16:], "big")
    if not answer.startswith(NBD_REPLY_MAGIC + option):
        raise Nonsense(answer)
    if kind >= 0x80000000:
        reason = yield Exactly(length, "reason")
        raise DialogError(f"the server refused TLS ({NBD_ERRORS.get(kind, f'error {kind:#x}')})", said=reason)
    if kind != NBD_REP_ACK or length:
        raise Nonsense(answer)
    return None
