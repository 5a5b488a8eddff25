"""VNC: RFB, with VeNCrypt."""

from __future__ import annotations

import re

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, Step, left

__all__ = ["GREETING", "client", "server"]

GREETING = rb"RFB \d{3}\."
RFB_VERSION = re.compile(rb"RFB (\d{3})\.(\d{3})\n")
VENCRYPT = 19
VENCRYPT_VERSION = b"\x00\x02"
X509_SUBTYPES = (260, 261, 262)  # X509None, X509Vnc, X509Plain; 257 to 259 are TLS without a certificate


def client(names: Names) -> Dialog:
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


def server(names: Names) -> Dialog:
    """RFB 3.8 and VeNCrypt 0.2 from the other end; the client chooses how it wants to log in under TLS."""
    yield Send(b"RFB 003.008\n")
    version = yield Exactly(12, "version", b"R")
    match = RFB_VERSION.fullmatch(version)
    if match is None:
        raise Nonsense(version)
    if (int(match[1]), int(match[2])) < (3, 8):
        reason = b"RFB 3.8 is needed for TLS"
        security = b"\0" if int(match[2]) == 7 else bytes(4)  # no types; before 3.7 one type in four bytes
        yield Send(security + len(reason).to_bytes(4, "big") + reason)
        raise left("an RFB older than 3.8")
    yield Send(bytes((1, VENCRYPT)))
    if (yield Exactly(1, "security type")) != bytes((VENCRYPT,)):
        raise left("another security type")
    yield Send(VENCRYPT_VERSION)
    if (yield Exactly(2, "VeNCrypt version")) != VENCRYPT_VERSION:
        yield Send(b"\xff")
        raise left("another VeNCrypt than 0.2")
    yield Send(b"\0" + bytes((len(X509_SUBTYPES),)) + b"".join(each.to_bytes(4, "big") for each in X509_SUBTYPES))
    if int.from_bytes((yield Exactly(4, "VeNCrypt subtype")), "big") not in X509_SUBTYPES:
        yield Send(b"\0")
        raise left("a VeNCrypt subtype without a certificate")
    yield Send(b"\x01")
    return None
