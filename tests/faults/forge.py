"""Records that no TLS library sends, under the keys of a real handshake.

    def script(conn: Peer) -> None:
        forger = Forger(conn, certs.server_context(version=version))
        forger.send(DATA, b"data")
        forger.alert(WARNING, USER_CANCELED)
        forger.close_notify()

The peer's own `SSLObject` shakes hands and goes on reading; what is sent from then on is sealed here, for TLS 1.2 and
1.3 with AES in GCM mode. The keys come from OpenSSL's log of them. What goes over the wire before there are keys is
changed by `edited()`. Source: RFC 8446 §5.2, §7.2, §7.3; RFC 5246 §5, §6.3; RFC 5288 §3.
"""

from __future__ import annotations

import hmac
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.faults.ways import upgrade
from tests.helpers.peers import Peer, Server, serve
from tests.pipe.tools import Transport

__all__ = [
    "ALERT",
    "DATA",
    "FATAL",
    "HANDSHAKE",
    "WARNING",
    "Forger",
    "cut_records",
    "edited",
    "forging",
    "message",
    "record",
]

ALERT, HANDSHAKE, DATA = 21, 22, 23
WARNING, FATAL = 1, 2
CLOSE_NOTIFY = 0
KEY_UPDATE = 24
HASH, HASH_BYTES = "sha384", 48  # of the suites with a key of 32 bytes, which both versions have first
KEY_BYTES = 32


def record(kind: int, body: bytes) -> bytes:
    """A record in clear text."""
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes = b"") -> bytes:
    """A handshake message."""
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def cut_records(data: bytes, size: int) -> bytes:
    """The handshake records of a flight again, each with `size` bytes at most, as long as they are in clear text."""
    done = bytearray()
    while data and data[0] == HANDSHAKE:
        length = 5 + int.from_bytes(data[3:5], "big")
        for start in range(5, length, size):
            done += record(HANDSHAKE, data[start : min(start + size, length)])
        data = data[length:]
    return bytes(done) + data


@contextmanager
def edited(conn: Peer, edit: Callable[[bytes], bytes]) -> Iterator[None]:
    """Let what the peer sends be changed on its way, flight by flight."""
    send = conn._send_wire
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conn, "_send_wire", lambda data: send(edit(data)))
        yield


class Forger:
    """The sending side of a TLS server, from the end of the handshake on."""

    def __init__(self, conn: Peer, context: ssl.SSLContext) -> None:
        self._conn = conn
        context.num_tickets = 0  # the first record is ours
        context.set_ciphers("ECDHE+AES256+AESGCM")  # for TLS 1.2
        sent = bytearray()
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "keys"
            context.keylog_filename = str(log)
            with edited(conn, lambda data: sent.extend(data) or data):  # type: ignore[func-returns-value]
                conn.start_tls(context)
            lines = [line.split() for line in log.read_text().splitlines() if not line.startswith("#")]
        keys = {label: (bytes.fromhex(random), bytes.fromhex(secret)) for label, random, secret in lines}
        self.modern = conn.tls_version == "TLSv1.3"
        if self.modern:
            self._secret = keys["SERVER_TRAFFIC_SECRET_0"][1]
            self._next_keys(self._secret)
        else:
            client_random, master = keys["CLIENT_RANDOM"]
            hello = sent[sent.index(b"\x16\x03\x03") :]  # after a dialog, where there was one
            server_random = bytes(hello[11:43])  # after the headers of record and message, and the version
            block = _prf(master, b"key expansion" + server_random + client_random, 2 * KEY_BYTES + 8)
            self._aead, self._iv = AESGCM(block[KEY_BYTES : 2 * KEY_BYTES]), block[-4:]
            self._number = 1  # after Finished
        # From here on only what is forged is sent: no alert, no close_notify of the peer's own.
        conn._said_goodbye = True
        conn._flush = conn._outgoing.read  # type: ignore[method-assign, assignment]

    def seal(self, kind: int, body: bytes) -> bytes:
        """The next record."""
        number = self._number.to_bytes(8, "big")
        self._number += 1
        if self.modern:
            head = bytes((DATA, 3, 3)) + (len(body) + 17).to_bytes(2, "big")
            nonce = bytes(a ^ b for a, b in zip(self._iv, bytes(4) + number, strict=True))
            return head + self._aead.encrypt(nonce, body + bytes((kind,)), head)
        sealed = number + self._aead.encrypt(
            self._iv + number, body, number + bytes((kind, 3, 3)) + len(body).to_bytes(2, "big")
        )
        return record(kind, sealed)

    def send(self, kind: int, body: bytes) -> None:
        """Send a record of this content type."""
        self._conn.send_raw(self.seal(kind, body))

    def alert(self, level: int, description: int) -> None:
        """Send an alert."""
        self.send(ALERT, bytes((level, description)))

    def close_notify(self) -> None:
        """End our data in order."""
        self.alert(WARNING, CLOSE_NOTIFY)

    def key_update(self, *, answer: bool) -> bytes:
        """A KeyUpdate of TLS 1.3; what is sealed after it has the next keys. `answer`: the peer is to do so too."""
        sealed = self.seal(HANDSHAKE, message(KEY_UPDATE, bytes((answer,))))
        self._secret = _expand_label(self._secret, b"traffic upd", HASH_BYTES)
        self._next_keys(self._secret)
        return sealed

    def _next_keys(self, secret: bytes) -> None:
        self._aead = AESGCM(_expand_label(secret, b"key", KEY_BYTES))
        self._iv = _expand_label(secret, b"iv", 12)
        self._number = 0


def forging(way: Transport, script: Callable[[Peer, Forger], object]) -> AbstractContextManager[Server]:
    """Serve `script` over this way, with a forger in the place of the server's sending side."""

    def forged(conn: Peer) -> None:
        if way.name == "upgraded":
            upgrade(conn)
        forger = Forger(conn, way.certs.server_context(version=way.version))
        conn.forget()
        script(conn, forger)

    return serve(forged)


def _expand_label(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446 §7.1, without context, for one block of output."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
    return hmac.digest(secret, info + b"\1", HASH)[:size]


def _prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_hash of RFC 5246 §5."""
    out, a = b"", seed
    while len(out) < size:
        a = hmac.digest(secret, a, HASH)
        out += hmac.digest(secret, a + seed, HASH)
    return out[:size]
