"""A resolver of our own, where nobody may connect: for tests of what a Worker could do."""

from __future__ import annotations

from tests.faults.ways import resolving

__all__ = ["CONNECT_FAILED", "resolved_to"]

CONNECT_FAILED = "proxy request failed, cannot connect to the specified address"
# Every socket that is made for a network is told of; an event loop has others.
NO_SOCKETS = """
import socket
class Told(socket.socket):
    def __init__(self, *how, **named):
        if how[:1] in ((socket.AF_INET,), (socket.AF_INET6,)):
            print("a socket was made", file=sys.stderr)
        super().__init__(*how, **named)
"""
NOT_CONNECTED = "socket.socket = Told"


def resolved_to(*addresses: str, more: str = "") -> list[str]:
    """Every name has these addresses, and no socket is made unseen."""
    by = resolving(*addresses)
    code = by[-1].replace("from cfcat.__main__", f"{NO_SOCKETS}{more}\n{NOT_CONNECTED}\nfrom cfcat.__main__")
    return [*by[:-1], code]
