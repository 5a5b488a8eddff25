"""The benchmark's server, in a process of its own; or its client, for tools that listen.

    python -m tests.bench.server ROLE COUNT CERTIFICATE [PORT]

prints its port and serves one connection after the other until it is killed. COUNT is in bytes; CERTIFICATE is a PEM
file with chain and key, for TLS, or "". With PORT it dials there, whenever somebody listens, and CERTIFICATE is that of
the authority. Roles:

- `sink` receives until EOF, prints how many bytes that were, and answers with the number;
- `source` sends COUNT bytes and its EOF;
- `echo` returns what it receives;
- `stamp` prints the time at which the first byte came (ns, the machine's monotonic clock);
- `checksum` is `sink`, but answers with number and CRC;
- `drip` sends COUNT single bytes, each in its own segment or record, 100 a second.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial

__all__ = ["BLOCK", "CHUNK", "MIB", "crc_of"]

MIB = 1 << 20
CHUNK = 256 * 1024
DRIP_S = 0.01
LOOK_S = 0.001
# What `source` sends, over and over; random, so that nothing on the way can compress it.
BLOCK = b"".join(zlib.crc32(number.to_bytes(4, "big")).to_bytes(4, "big") for number in range(MIB // 4))


def crc_of(count: int) -> int:
    """The CRC of the first `count` bytes of an endless row of blocks."""
    crc = 0
    while count > 0:
        crc = zlib.crc32(BLOCK[:count], crc)
        count -= MIB
    return crc


def _sink(conn: socket.socket, _: int) -> None:
    buffer, total = bytearray(MIB), 0
    # In clear text the kernel throws the bytes away itself: the server is never what limits.
    flags = 0 if isinstance(conn, ssl.SSLSocket) else socket.MSG_TRUNC
    while size := conn.recv_into(buffer, MIB, flags):
        total += size
    print(total, flush=True)
    conn.sendall(b"%d\n" % total)


def _checksum(conn: socket.socket, _: int) -> None:
    buffer, total, crc = memoryview(bytearray(MIB)), 0, 0
    while size := conn.recv_into(buffer):
        total += size
        crc = zlib.crc32(buffer[:size], crc)
    conn.sendall(b"%d %08x\n" % (total, crc))


def _source(conn: socket.socket, count: int) -> None:
    if isinstance(conn, ssl.SSLSocket):
        view = memoryview(BLOCK)
        for start in range(0, count, CHUNK):
            offset = start % MIB
            conn.sendall(view[offset : offset + min(CHUNK, count - start)])
        return
    with open(os.memfd_create("block"), "w+b", buffering=0) as file:
        file.write(BLOCK)
        while count:
            count -= os.sendfile(conn.fileno(), file.fileno(), 0, min(MIB, count))


def _echo(conn: socket.socket, _: int) -> None:
    buffer = memoryview(bytearray(CHUNK))
    while size := conn.recv_into(buffer):
        conn.sendall(buffer[:size])


def _stamp(conn: socket.socket, _: int) -> None:
    conn.recv(1)
    print(time.monotonic_ns(), flush=True)
    while conn.recv(64):
        pass


def _drip(conn: socket.socket, count: int) -> None:
    for _ in range(count):
        conn.sendall(b".")
        time.sleep(DRIP_S)


ROLES = {"sink": _sink, "source": _source, "echo": _echo, "stamp": _stamp, "checksum": _checksum, "drip": _drip}


def _play(role: str, count: int, conn: socket.socket, wrap: Callable[[socket.socket], socket.socket] | None) -> None:
    with suppress(OSError):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap is not None:
            conn = wrap(conn)
        ROLES[role](conn, count)
        if isinstance(conn, ssl.SSLSocket):
            conn.unwrap()
        conn.shutdown(socket.SHUT_WR)
        conn.recv(1)  # the other's end comes first: nothing is cut off
    conn.close()


def main(role: str, count: int, certificate: str) -> None:
    """Serve for ever."""
    wrap = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        wrap = partial(context.wrap_socket, server_side=True)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=_play, args=(role, count, conn, wrap), daemon=True).start()


def dial(role: str, count: int, authority: str, port: int) -> None:
    """Be a client, for ever, of whoever listens there."""
    wrap = None
    if authority:
        context = ssl.create_default_context(cafile=authority)
        wrap = partial(context.wrap_socket, server_hostname="localhost")
    print(port, flush=True)
    while True:
        with suppress(ConnectionRefusedError):
            _play(role, count, socket.create_connection(("127.0.0.1", port)), wrap)
        time.sleep(LOOK_S)


if __name__ == "__main__":
    if sys.argv[4:]:
        dial(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
