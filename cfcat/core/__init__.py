"""The socket core: everything that `connect()` promises, and nothing of terminals, files or messages.

Data moves along one line: address and options, `connect()`, wire and codec, streams. Every decision about state is
made in `lifecycle`.
"""

from __future__ import annotations

from cfcat.core.address import SocketAddress
from cfcat.core.operation import Operation
from cfcat.core.options import SocketOptions, make_tls_context
from cfcat.core.sockets import Socket, SocketInfo, connect

__all__ = [
    "Operation",
    "Socket",
    "SocketAddress",
    "SocketInfo",
    "SocketOptions",
    "connect",
    "make_tls_context",
]
