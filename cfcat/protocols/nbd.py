"""NBD."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, left

__all__ = ["GREETING", "client", "server"]

MAGIC = b"NBDMAGIC"
GREETING = MAGIC
OPTION_MAGIC = b"IHAVEOPT"
REPLY_MAGIC = bytes.fromhex("0003e889045565a9")
FIXED_NEWSTYLE = 1  # the same bit from the server and from the client
NBD_OPT_STARTTLS = 5
NBD_REP_ACK = 1
ERRORS = {
    0x80000001: "NBD_REP_ERR_UNSUP",
    0x80000002: "NBD_REP_ERR_POLICY",
    0x80000003: "NBD_REP_ERR_INVALID",
    0x80000004: "NBD_REP_ERR_PLATFORM",
    0x80000007: "NBD_REP_ERR_SHUTDOWN",
}


def client(names: Names) -> Dialog:
    """NBD protocol (doc/proto.md), "Fixed newstyle negotiation" and "TLS support": option 5, NBD_OPT_STARTTLS.

    A client "MUST NOT issue NBD_OPT_STARTTLS" unless the server has said that it knows options at all.
    """
    greeting = yield Exactly(16, "greeting", MAGIC[:1])
    if not greeting.startswith(MAGIC):
        raise Nonsense(greeting)
    if greeting[8:] != OPTION_MAGIC:
        raise DialogError("the server negotiates in the old style, which has no TLS", said=greeting)
    flags = int.from_bytes((yield Exactly(2, "greeting")), "big")
    if not flags & FIXED_NEWSTYLE:
        raise DialogError("the server does not offer TLS (no fixed newstyle negotiation)")
    option = NBD_OPT_STARTTLS.to_bytes(4, "big")
    yield Send(FIXED_NEWSTYLE.to_bytes(4, "big") + OPTION_MAGIC + option + bytes(4))
    answer = yield Exactly(20, "answer to NBD_OPT_STARTTLS", REPLY_MAGIC[:1])
    kind, length = int.from_bytes(answer[12:16], "big"), int.from_bytes(answer[16:], "big")
    if not answer.startswith(REPLY_MAGIC + option):
        raise Nonsense(answer)
    if kind >= 0x80000000:
        reason = yield Exactly(length, "reason")
        raise DialogError(f"the server refused TLS ({ERRORS.get(kind, f'error {kind:#x}')})", said=reason)
    if kind != NBD_REP_ACK or length:
        raise Nonsense(answer)
    return None


NO_ZEROES = 2
NBD_OPT_EXPORT_NAME, NBD_OPT_ABORT = 1, 2
NBD_REP_ERR_INVALID, NBD_REP_ERR_TLS_REQD = 0x80000003, 0x80000005


def server(names: Names) -> Dialog:
    """NBD protocol, "Option haggling", "FORCEDTLS mode": anything but TLS is refused with NBD_REP_ERR_TLS_REQD."""
    yield Send(MAGIC + OPTION_MAGIC + (FIXED_NEWSTYLE | NO_ZEROES).to_bytes(2, "big"))
    flags = yield Exactly(4, "flags", b"\0")
    if not int.from_bytes(flags, "big") & FIXED_NEWSTYLE:
        raise left("no fixed newstyle negotiation")
    while True:
        head = yield Exactly(16, "option", OPTION_MAGIC[:1])
        option, length = head[8:12], int.from_bytes(head[12:], "big")
        if not head.startswith(OPTION_MAGIC):
            raise Nonsense(head)
        yield Exactly(length, "option")
        code = int.from_bytes(option, "big")
        if code == NBD_OPT_STARTTLS and not length:
            yield Send(_reply(option, NBD_REP_ACK))
            return None
        if code == NBD_OPT_EXPORT_NAME:  # there is no refusing it: "the server MUST close"
            raise left("NBD_OPT_EXPORT_NAME")
        if code == NBD_OPT_ABORT:
            yield Send(_reply(option, NBD_REP_ACK))
            raise left("NBD_OPT_ABORT")
        yield Send(_reply(option, NBD_REP_ERR_INVALID if code == NBD_OPT_STARTTLS else NBD_REP_ERR_TLS_REQD))


def _reply(option: bytes, kind: int) -> bytes:
    return REPLY_MAGIC + option + kind.to_bytes(4, "big") + bytes(4)
