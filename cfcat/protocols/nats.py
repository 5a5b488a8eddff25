"""NATS."""

from __future__ import annotations

import re

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send
from cfcat.protocols.text import first_word, read_line, words

__all__ = ["GREETING", "SECRETS", "VERBS", "client", "server"]

VERBS = words("CONNECT PING PONG PUB HPUB SUB UNSUB")
# Password, token, user's credential and the signature of the server's nonce are members of one JSON object. A JSON
# escape may hide the name of such a member.
SECRETS = (rb'(CONNECT\s*)\{.*(?:"(?:pass|auth_token|jwt|sig)"|\\u)',)
GREETING = rb"(?i:INFO)\s+\{"
INFO = re.compile(rb"INFO[ \t]+(\{.*\})[ \t]*", re.IGNORECASE)


def client(names: Names) -> Dialog:
    """NATS client protocol, "INFO" and "CONNECT": no request, the ClientHello follows the server's INFO at once.

    So INFO is the go-ahead, where TLS is in it: `tls_required`, or `tls_available` of a server that takes both.
    """
    line = yield from read_line("greeting", b"Ii-")
    if first_word(line) == b"-ERR":
        raise DialogError("the server refused the connection (-ERR)", said=line)
    match = INFO.fullmatch(line)
    if match is None:
        raise Nonsense(line)
    info = _parse(match[1])
    if info is None:
        raise Nonsense(line)
    if info.get("tls_required") is not True and info.get("tls_available") is not True:
        raise DialogError("the server does not offer TLS (its INFO has neither tls_required nor tls_available)")
    return None


def _parse(text: bytes) -> dict[str, object] | None:
    import json  # lazy: no other dialog needs it

    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return info if isinstance(info, dict) else None


def server(names: Names) -> Dialog:
    """NATS client protocol: the INFO says that TLS is required, and the client begins it without another word."""
    import json  # lazy: as above

    info = {
        "server_id": "cfcat",
        "server_name": names.server_name,
        "version": "2.10.0",
        "proto": 1,
        "headers": True,
        "max_payload": 1048576,
        "tls_required": True,
    }
    yield Send(b"INFO " + json.dumps(info, separators=(",", ":")).encode() + b" \r\n")
    return None
