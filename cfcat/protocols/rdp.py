"""RDP."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, left

__all__ = ["client", "server"]

# TPKT, X.224 connection request, RDP_NEG_REQ for PROTOCOL_SSL and PROTOCOL_HYBRID
REQUEST = bytes.fromhex("03000013 0ee00000000000 0100080003000000")
CONFIRM = 0xD0
RESPONSE, FAILURE = 2, 3
PROTOCOL_SSL, PROTOCOL_HYBRID = 1, 2
OTHER_PROTOCOLS = {
    0: "RDP's own encryption",
    4: "PROTOCOL_RDSTLS, which was not asked for",
    8: "PROTOCOL_HYBRID_EX, which was not asked for",
    16: "PROTOCOL_RDSAAD, which was not asked for",
}
FAILURES = {
    1: "SSL_REQUIRED_BY_SERVER",
    2: "SSL_NOT_ALLOWED_BY_SERVER",
    3: "SSL_CERT_NOT_ON_SERVER",
    4: "INCONSISTENT_FLAGS",
    5: "HYBRID_REQUIRED_BY_SERVER",
    6: "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
}


def client(names: Names) -> Dialog:
    """MS-RDPBCGR 2.2.1.1.1 (RDP_NEG_REQ), 2.2.1.2, 2.2.1.2.1 (RDP_NEG_RSP), 2.2.1.2.2 (RDP_NEG_FAILURE), 5.4.5.1.

    PROTOCOL_HYBRID is NLA: TLS as well, in which the client has to log in at once. A server that requires it refuses
    PROTOCOL_SSL alone. The negotiation data is optional in the answer: servers older than it leave it out, and have no
    TLS.
    """
    answer = "answer to the connection request"
    yield Send(REQUEST)
    head = yield Exactly(4, answer, REQUEST[:1])
    length = int.from_bytes(head[2:], "big")
    if length not in (11, 19):
        raise Nonsense(head)
    body = yield Exactly(length - 4, answer)
    if body[0] != length - 5 or body[1] & 0xF0 != CONFIRM:
        raise Nonsense(head + body)
    if length == 11:
        raise DialogError("the server does not offer TLS (no security negotiation)")
    kind, size, value = body[7], int.from_bytes(body[9:11], "little"), int.from_bytes(body[11:], "little")
    if size != 8 or kind not in (RESPONSE, FAILURE):
        raise Nonsense(head + body)
    if kind == FAILURE:
        name = f", {FAILURES[value]}" if value in FAILURES else ""
        raise DialogError(f"the server refused TLS (failure code {value}{name})")
    if value not in (PROTOCOL_SSL, PROTOCOL_HYBRID):
        other = OTHER_PROTOCOLS.get(value, f"security protocol {value}")
        raise DialogError(f"the server selected {other}, in place of TLS or NLA")
    return None


REQUESTED, NEGOTIATION = 0xE0, 1  # X.224 connection request, RDP_NEG_REQ
NEGOTIATION_BYTES = 8
SSL_REQUIRED = 1


def server(names: Names) -> Dialog:
    """MS-RDPBCGR 2.2.1.1 to 2.2.1.2.2: TLS is chosen where the client has it, else NLA, which is TLS as well."""
    what = "connection request"
    head = yield Exactly(4, what, REQUEST[:1])
    length = int.from_bytes(head[2:], "big")
    if length < 11:
        raise Nonsense(head)
    body = yield Exactly(length - 4, what)
    if body[0] != length - 5 or body[1] & 0xF0 != REQUESTED:
        raise Nonsense(head + body)
    negotiation = body[-NEGOTIATION_BYTES:]  # a cookie or a routing token may be before it
    asks = len(body) >= 7 + NEGOTIATION_BYTES and negotiation[0] == NEGOTIATION and negotiation[2:4] == b"\x08\0"
    requested = int.from_bytes(negotiation[4:], "little") if asks else 0
    source = body[4:6]
    for protocol in (PROTOCOL_SSL, PROTOCOL_HYBRID):
        if requested & protocol:
            yield Send(_confirm(source, RESPONSE, protocol))
            return None
    yield Send(_confirm(source, FAILURE, SSL_REQUIRED))
    raise left("RDP's own encryption")


def _confirm(destination: bytes, kind: int, value: int) -> bytes:
    negotiation = bytes((kind, 0, NEGOTIATION_BYTES, 0)) + value.to_bytes(4, "little")
    return bytes.fromhex("03000013 0e") + bytes((CONFIRM,)) + destination + b"\x12\x34\0" + negotiation
