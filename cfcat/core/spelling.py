"""How the names of Workers, and of asyncio's streams and Python's sockets, are spelt here.

Pure; loaded when somebody asks for a name that there is not.
"""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = ["option_instead", "snake", "whats_instead"]

# By the class that was asked, what does here what the name does elsewhere.
INSTEAD: dict[str, dict[str, str]] = {
    "Promise": {"then": "await it, or add_done_callback()", "catch": "await it in try: and except SocketError:"},
    "ReadableStream": {
        "read": "get_reader().read()",
        "readline": "get_reader().read_until()",
        "values": "async for chunk in it",
    },
    "ReadableStreamReader": {
        "readline": "read_until()",
        "readuntil": "read_until()",
        "readexactly": "read_exactly()",
    },
    "Socket": {
        "read": "readable.get_reader().read()",
        "recv": "readable.get_reader().read()",
        "send": "writable.get_writer().write()",
        "sendall": "writable.get_writer().write()",
        "settimeout": "async with asyncio.timeout()",
        "wait_closed": "await closed",
        "write": "writable.get_writer().write()",
    },
    "WritableStream": {"write": "get_writer().write()"},
    "WritableStreamWriter": {"drain": "await write()", "write_eof": "close()"},
}
# Options of others, and what has their place.
_CONTEXT = "tls=make_tls_context({}=...)"
OPTIONS: dict[str, str] = {
    "alpn": _CONTEXT.format("alpn"),
    "cacert": _CONTEXT.format("cacert"),
    "cert": _CONTEXT.format("cert"),
    "family": "address_family",
    "half_open": "allow_half_open",
    "insecure": _CONTEXT.format("insecure"),
    "local_addr": "source",
    "proxy": "via=proxy(URL)",
    "server_hostname": "expected_server_hostname",
    "sni": "expected_server_hostname",
    "ssl": "secure_transport='on', with tls= for a context",
    "starttls": "secure_transport='starttls'",
    "timeout": "connect_timeout, or async with asyncio.timeout()",
}


def snake(name: str) -> str:
    """`startTls` as `start_tls`."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda match: "_" + match[0].lower(), name)


def whats_instead(kinds: Collection[type], name: str) -> str:
    """For the message about an unknown attribute of these classes: what to type here; "" where we do not know."""
    spelt = snake(name)
    if spelt != name and any(hasattr(kind, spelt) for kind in kinds):
        return f"; in Python it is {spelt}"
    found = next((INSTEAD[kind.__name__][name] for kind in kinds if name in INSTEAD.get(kind.__name__, ())), None)
    return "" if found is None else f"; here that is: {found}"


def option_instead(name: str, options: Collection[str]) -> str:
    """For the message about an option that is none of these: what to type here; "" where we do not know."""
    spelt = snake(name)
    if spelt != name and spelt in options:
        return f"; in Python it is {spelt}"
    return f"; here that is: {OPTIONS[name]}" if name in OPTIONS else ""
