"""Telnet, RDP and VNC."""

from __future__ import annotations

import re

from cfcat.errors import DialogError
from cfcat.protocols.dialog import TLS_FIRST_BYTES, Dialog, Exactly, Names, Nonsense, Send, Step, Until

__all__ = ["rdp", "telnet", "vnc"]

IAC, DONT, DO, WONT, WILL, SB, SE = (bytes((code,)) for code in (255, 254, 253, 252, 251, 250, 240))
START_TLS, FOLLOWS = b"\x2e", b"\x01"
TELNET_FIRST = bytes(code for code in range(256) if code not in TLS_FIRST_BYTES)


def telnet(names: Names) -> Dialog:
    """draft-altman-telnet-starttls-02; the commands: RFC 854. The server asks, and both say FOLLOWS.

    Text and other options before the server asks are dropped, unanswered.
    """
    yield from _read_do_start_tls()
    follows = IAC + SB + START_TLS + FOLLOWS + IAC + SE
    yield Send(IAC + WILL + START_TLS + follows)
    answer = yield Exactly(3, "FOLLOWS", IAC)
    if answer == IAC + DONT + START_TLS:
        raise _telnet_refusal()
    if answer != follows[:3]:
        raise Nonsense(answer)
    answer += yield Exactly(3, "FOLLOWS")
    if answer != follows:
        raise Nonsense(answer)
    return None


def _read_do_start_tls() -> Step[None]:
    what = "DO START_TLS"
    first = TELNET_FIRST
    while True:
        yield Until(IAC, what, first)
        first = b""
        command = yield Exactly(1, what)
        if command == SB:
            end = b""
            while end != SE:  # IAC SE: what is before it is no command
                yield Until(IAC, what)
                end = yield Exactly(1, what)
        elif command in (DO, DONT, WILL, WONT):
            option = yield Exactly(1, what)
            if option == START_TLS and command == DO:
                return
            if option == START_TLS and command == DONT:
                raise _telnet_refusal()


def _telnet_refusal() -> DialogError:
    return DialogError("the server refused START_TLS (DONT)")


# TPKT, X.224 connection request, RDP_NEG_REQ for PROTOCOL_SSL alone
RDP_REQUEST = bytes.fromhex("03000013 0ee00000000000 0100080001000000")
RDP_CONFIRM = 0xD0
RDP_RESPONSE, RDP_FAILURE = 2, 3
RDP_PROTOCOL_SSL = 1
RDP_FAILURES = {
    1: "SSL_REQUIRED_BY_SERVER",
    2: "SSL_NOT_ALLOWED_BY_SERVER",
    3: "SSL_CERT_NOT_ON_SERVER",
    4: "INCONSISTENT_FLAGS",
    5: "HYBRID_REQUIRED_BY_SERVER",
    6: "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
}


def rdp(names: Names) -> Dialog:
    """MS-RDPBCGR 2.2.1.1.1 (RDP_NEG_REQ), 2.2.1.2, 2.2.1.2.1 (RDP_NEG_RSP), 2.2.1.2.2 (RDP_NEG_FAILURE), 5.4.5.1.

    The negotiation data is optional in the answer: servers older than it leave it out, and have no TLS.
    """
    answer = "answer to the connection request"
    yield Send(RDP_REQUEST)
    head = yield Exactly(4, answer, RDP_REQUEST[:1])
    length = int.from_bytes(head[2:], "big")
    if length not in (11, 19):
        raise Nonsense(head)
    body = yield Exactly(length - 4, answer)
    if body[0] != length - 5 or body[1] & 0xF0 != RDP_CONFIRM:
        raise Nonsense(head + body)
    if length == 11:
        raise DialogError("the server does not offer TLS (no security negotiation)")
    kind, size, value = body[7], int.from_bytes(body[9:11], "little"), int.from_bytes(body[11:], "little")
    if size != 8 or kind not in (RDP_RESPONSE, RDP_FAILURE):
        raise Nonsense(head + body)
    if kind == RDP_FAILURE:
        name = f", {RDP_FAILURES[value]}" if value in RDP_FAILURES else ""
        raise DialogError(f"the server refused TLS (failure code {value}{name})")
    if value != RDP_PROTOCOL_SSL:
        raise DialogError(f"the server selected security protocol {value}, not TLS")
    return None


RFB_VERSION = re.compile(rb"RFB (\d{3})\.(\d{3})\n")
VENCRYPT = 19
VENCRYPT_VERSION = b"\x00\x02"
X509_SUBTYPES = (260, 261, 262)  # X509None, X509Vnc, X509Plain; 257 to 259 are TLS with nobody's certificate


def vnc(names: Names) -> Dialog:
    """rfbproto (the community's RFB specification), "ProtocolVersion", "Security", "VeNCrypt"; RFC 6143 §7.1.

    Of the subtypes with a certificate, the one that asks for the least login is chosen.
    """
    version = yield Exactly(12, "greeting", b"R")
    match = RFB_VERSION.fullmatch(version)
    if match is None:
        raise Nonsense(version)
    if (int(match[1]), int(match[2])) < (3, 8):
        raise DialogError("the server speaks an RFB older than 3.8", said=version)
    yield Send(b"RFB 003.008\n")
    what = "list of security types"
    (count,) = yield Exactly(1, what)
    if not count:
        length = int.from_bytes((yield Exactly(4, what)), "big")
        reason = yield Exactly(length, "reason")
        raise DialogError("the server refused the connection", said=reason)
    if VENCRYPT not in (yield Exactly(count, what)):
        raise DialogError("the server does not offer TLS (VeNCrypt is not among its security types)")
    yield Send(bytes((VENCRYPT,)))
    vencrypt = yield Exactly(2, "VeNCrypt version")
    if vencrypt < VENCRYPT_VERSION:
        raise DialogError("the server speaks a VeNCrypt older than 0.2")
    yield Send(VENCRYPT_VERSION)
    if (yield Exactly(1, "answer to the VeNCrypt version")) != b"\x00":
        raise DialogError("the server refused VeNCrypt 0.2")
    yield from _choose_subtype()
    if (yield Exactly(1, "answer to the VeNCrypt subtype")) != b"\x01":
        raise DialogError("the server refused the VeNCrypt subtype")
    return None


def _choose_subtype() -> Step[None]:
    what = "list of VeNCrypt subtypes"
    (count,) = yield Exactly(1, what)
    data = yield Exactly(4 * count, what)
    offered = {int.from_bytes(data[start : start + 4], "big") for start in range(0, len(data), 4)}
    for subtype in X509_SUBTYPES:
        if subtype in offered:
            yield Send(subtype.to_bytes(4, "big"))
            return
    raise DialogError("the server offers no VeNCrypt subtype with a certificate")
