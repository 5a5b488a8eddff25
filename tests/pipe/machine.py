"""A fast TCP peer in a process of its own: the scripted ones would share their Python with the test's own bytes.

    python machine.py ROLE CERTIFICATE COUNT

prints its port and serves one connection. Roles: `echo` returns what it receives until that ends; `source` sends
COUNT bytes of PERIOD over and over; `sink` receives COUNT bytes and answers with that number. It ends the connection
when its standard input ends. CERTIFICATE is a PEM file with chain and key, for TLS, or "".
"""

from __future__ import annotations

import random
import socket
import ssl
import sys

__all__ = ["PERIOD"]

# Its length is a prime: no buffer's size is a multiple of it, so nothing can move, vanish or repeat unseen.
PERIOD = random.Random(1).randbytes(65521)

_PIECE = 1 << 20
_DEADLINE_S = 30


def _echo(conn: socket.socket, _: int) -> None:
    buffer = memoryview(bytearray(_PIECE))
    while count := conn.recv_into(buffer):
        conn.sendall(buffer[:count])


def _sink(conn: socket.socket, count: int) -> None:
    buffer = memoryview(bytearray(_PIECE))
    left = count
    while left:
        size = conn.recv_into(buffer)
        assert 0 < size <= left, f"{size} bytes where {left} were left"
        left -= size
    conn.sendall(str(count).encode())


def _source(conn: socket.socket, count: int) -> None:
    periods = PERIOD * (_PIECE // len(PERIOD))
    while count:
        piece = periods[:count]
        conn.sendall(piece)
        count -= len(piece)


def _serve(role: str, certificate: str, count: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        listener.settimeout(_DEADLINE_S)
        conn: socket.socket = listener.accept()[0]
    conn.settimeout(_DEADLINE_S)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        conn = context.wrap_socket(conn, server_side=True)
    with conn:
        {"echo": _echo, "source": _source, "sink": _sink}[role](conn, count)
        sys.stdin.read()
        if isinstance(conn, ssl.SSLSocket):
            conn.unwrap()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
