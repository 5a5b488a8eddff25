"""A fast TCP peer in a process of its own: the scripted ones would share their Python with the test's own bytes.

    python machine.py ROLE CERTIFICATE COUNT KIND

prints its port and serves one connection. Roles: `echo` returns what it receives until that ends; `source` sends
COUNT bytes of PERIOD over and over; `sink` receives COUNT bytes and answers with that number. It ends the connection
when its standard input ends. CERTIFICATE is a PEM file with chain and key, for TLS, or ""; KIND is "plain",
"tls1.2", "tls1.3" or "upgraded", which is TLS after the dialog of SMTP.
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


def _upgrade(conn: socket.socket) -> None:
    conn.sendall(b"220 mail.example ESMTP\r\n")
    assert conn.recv(1000).startswith(b"EHLO ")
    conn.sendall(b"250 STARTTLS\r\n")
    assert conn.recv(1000) == b"STARTTLS\r\n"
    conn.sendall(b"220 go ahead\r\n")


def _serve(role: str, certificate: str, count: int, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        listener.settimeout(_DEADLINE_S)
        conn: socket.socket = listener.accept()[0]
    conn.settimeout(_DEADLINE_S)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if kind == "tls1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if kind == "upgraded":
            _upgrade(conn)
        conn = context.wrap_socket(conn, server_side=True)
    with conn:
        {"echo": _echo, "source": _source, "sink": _sink}[role](conn, count)
        sys.stdin.read()
        if isinstance(conn, ssl.SSLSocket):
            conn.unwrap()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
