"""LDAP."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Exactly, Names, Nonsense, Send, Step, left

__all__ = ["client", "server"]

START_TLS = b"1.3.6.1.4.1.1466.20037"
# LDAPMessage, messageID 1, ExtendedRequest, requestName
REQUEST = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + START_TLS
ANSWER = "answer to StartTLS"
SEQUENCE = 0x30
EXTENDED_RESPONSE, RESPONSE_NAME = 0x78, 0x8A
# RFC 4511 §4.1.9
RESULTS = {
    1: "operationsError",
    2: "protocolError",
    10: "referral",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
    80: "other",
}


def client(names: Names) -> Dialog:
    """RFC 4511 §4.14; encoding: §5.1, where lengths may be long ones (Active Directory's are), not indefinite."""
    yield Send(REQUEST)
    code, text = _parse((yield from _read_message(ANSWER)))
    if code:
        name = f", {RESULTS[code]}" if code in RESULTS else ""
        raise DialogError(f"the server refused StartTLS (result code {code}{name})", said=text)
    return None


def _read_message(what: str) -> Step[bytes]:
    """Return what is in an LDAPMessage: its number and more."""
    head = yield Exactly(2, what, bytes((SEQUENCE,)))
    length = head[1]
    if length >= 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise Nonsense(head)
        length = int.from_bytes((yield Exactly(size, what)), "big")
    return (yield Exactly(length, what))


def _parse(message: bytes) -> tuple[int, bytes]:
    """Return resultCode and diagnosticMessage of the ExtendedResponse to message 1."""
    match _elements(message):
        case [(0x02, number), (operation, response), *_]:  # INTEGER messageID, protocolOp, controls
            message_id = _integer(number)
        case _:
            raise Nonsense(message)
    if message_id == 0:  # RFC 4511 §4.4.1
        raise DialogError("the server ended the LDAP session (notice of disconnection)", said=message)
    if message_id != 1 or operation != EXTENDED_RESPONSE:
        raise Nonsense(message)
    match _elements(response):
        case [(0x0A, code), (0x04, _), (0x04, text), *more]:  # ENUMERATED resultCode, matchedDN, diagnosticMessage
            if any(tag == RESPONSE_NAME and value != START_TLS for tag, value in more):
                raise Nonsense(message)
            return _integer(code), text
        case _:
            raise Nonsense(message)


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """The BER elements that `data` is made of, as (tag, contents)."""
    elements = []
    rest = data
    while rest:
        if len(rest) < 2 or rest[0] & 0x1F == 0x1F:
            raise Nonsense(data)
        tag, length, start = rest[0], rest[1], 2
        if length >= 0x80:
            start += length & 0x7F
            if not 3 <= start <= 6:
                raise Nonsense(data)
            length = int.from_bytes(rest[2:start], "big")
        if len(rest) < start + length:
            raise Nonsense(data)
        elements.append((tag, rest[start : start + length]))
        rest = rest[start + length :]
    return elements


def _integer(contents: bytes) -> int:
    if not 1 <= len(contents) <= 4:
        raise Nonsense(contents)
    return int.from_bytes(contents, "big", signed=True)


UNBIND, ABANDON, EXTENDED_REQUEST, REQUEST_NAME = 0x42, 0x50, 0x77, 0x80
# Request and response (RFC 4511 §4.2 to §4.12); a search is answered with its end.
RESPONSES = {0x60: 0x61, 0x63: 0x65, 0x66: 0x67, 0x68: 0x69, 0x4A: 0x6B, 0x6C: 0x6D, 0x6E: 0x6F, 0x77: 0x78}
SUCCESS, PROTOCOL_ERROR, CONFIDENTIALITY_REQUIRED = 0, 2, 13


def server(names: Names) -> Dialog:
    """RFC 4511 §4.14: StartTLS is granted, UnbindRequest is the end, and any other request gets its refusal."""
    while True:
        message = yield from _read_message("request")
        match _elements(message):
            case [(0x02, number), (operation, request), *_]:  # INTEGER messageID, protocolOp, controls
                pass
            case _:
                raise Nonsense(message)
        if operation == UNBIND:
            raise left("UnbindRequest")
        if operation == ABANDON:  # it has no response
            continue
        if operation not in RESPONSES:
            raise Nonsense(message)
        if operation == EXTENDED_REQUEST:
            if (REQUEST_NAME, START_TLS) in _elements(request):
                yield Send(_response(number, operation, SUCCESS, b"", _element(RESPONSE_NAME, START_TLS)))
                return None
            yield Send(_response(number, operation, PROTOCOL_ERROR, b"unknown extended operation"))
        else:
            yield Send(_response(number, operation, CONFIDENTIALITY_REQUIRED, b"begin TLS first (StartTLS)"))


def _response(number: bytes, operation: int, code: int, text: bytes, more: bytes = b"") -> bytes:
    result = _element(0x0A, bytes((code,))) + _element(0x04, b"") + _element(0x04, text) + more
    return _element(SEQUENCE, _element(0x02, number) + _element(RESPONSES[operation], result))


def _element(tag: int, contents: bytes) -> bytes:
    """One BER element; nothing of ours is longer than 127 bytes."""
    return bytes((tag, len(contents))) + contents
