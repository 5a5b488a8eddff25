"""Does a client begin TLS, and what does it ask for? Its ClientHello, as it is or in the packets of MS-TDS.

Pure. A TLS client announces itself with this message, whatever protocol was spoken before it; so the tap needs to know
none.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from cfcat.core.client_hello import read_hello
from cfcat.errors import DialogError
from cfcat.protocols.wrapper import PRELOGIN, HandshakeWrapper

__all__ = ["Hello", "look"]

MAX_NAME_BYTES = 255


class Hello(NamedTuple):
    """A whole ClientHello. `server_name`: None where it names none, or one that no host can have. `alpn`: the protocols
    it offers, in its order. `wrapped`: it came in the packets of MS-TDS.
    """

    server_name: str | None = None
    alpn: tuple[str, ...] = ()
    wrapped: bool = False


def look(data: bytes) -> Hello | Literal["partial"] | None:
    """Judge all that a client has said in its turn: a whole ClientHello and nothing else, its beginning, or neither."""
    if data[:1] == bytes((PRELOGIN,)):
        return _look_wrapped(data)
    found = read_hello(data)
    if found is None or found == "partial":
        return found
    if found.size < len(data):
        return None  # a client that begins TLS waits for the answer
    name = found.server_name
    return Hello(name if name is not None and _is_name(name) else None, found.alpn)


def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME_BYTES and name.isprintable() and " " not in name and "\\" not in name


def _look_wrapped(data: bytes) -> Hello | Literal["partial"] | None:
    wrapper = HandshakeWrapper("client")
    try:
        tls = wrapper.unwrap(data)
    except DialogError:
        return None
    if not tls:
        return "partial"
    found = look(tls) if tls[:1] != bytes((PRELOGIN,)) else None
    if isinstance(found, Hello):
        return None if wrapper.incomplete else found._replace(wrapped=True)
    return found
