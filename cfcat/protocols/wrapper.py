"""TLS records in TDS packets: what Microsoft SQL Server does to the handshake before TDS 8.

Pure. The wire sends `wrap()` of what its TLS codec gives it and gives the codec `unwrap()` of what comes, until the
handshake is done; from then on TLS is on the wire as anywhere else. With TLS 1.3 that point would not be the same
for both ends (session tickets come after the server's Finished), so 1.2 is the highest version.

Source: MS-TDS 2.2.3.1 (packet header), 2.2.6.5 (PRELOGIN carries the handshake), 3.2.5.3 (the client's state "Sent
TLS/SSL Negotiation Packet").
"""

from __future__ import annotations

from typing import Literal

from cfcat.errors import DialogError

__all__ = ["PRELOGIN", "TABULAR_RESULT", "HandshakeWrapper", "Peer", "packets"]

Peer = Literal["server", "client"]

PRELOGIN = 0x12
TABULAR_RESULT = 0x04
END_OF_MESSAGE = 0x01
HEADER_BYTES = 8
MAX_PACKET_BYTES = 4096  # what both ends accept before a login has agreed on another size
MAX_HANDSHAKE_BYTES = 1024 * 1024  # SEC-R7


def packets(data: bytes, kind: int = PRELOGIN) -> bytes:
    """`data` as one message, in as many packets as it takes. The handshake is PRELOGIN both ways (2.2.6.5)."""
    size = MAX_PACKET_BYTES - HEADER_BYTES
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    message = bytearray()
    for number, part in enumerate(parts, start=1):
        status = END_OF_MESSAGE if number == len(parts) else 0
        length = HEADER_BYTES + len(part)
        message += bytes((kind, status)) + length.to_bytes(2, "big") + bytes((0, 0, number % 256, 0)) + part
    return bytes(message)


class HandshakeWrapper:
    """One TLS handshake inside TDS packets, with this peer."""

    max_tls = "1.2"  # the highest that can travel this way: see the module's docstring

    def __init__(self, peer: Peer = "server") -> None:
        self._peer = peer
        self._header = bytearray()
        self._rest = 0  # of the packet whose header is here
        self._received = 0

    @property
    def wanted(self) -> int:
        """Bytes to ask the wire for, and no more: behind the last packet TLS goes on as it is."""
        return self._rest or HEADER_BYTES - len(self._header)

    @property
    def incomplete(self) -> bool:
        """Is the last packet still to be ended? Not so when a handshake is done, unless the peer lies."""
        return bool(self._header) or self._rest > 0

    def wrap(self, tls: bytes) -> bytes:
        """Wire bytes for what the TLS codec wants to send."""
        return packets(tls)

    def unwrap(self, wire: bytes) -> bytes:
        """The TLS bytes in what the peer sent; b"" where a packet has only begun, which is no EOF.

        Raises:
            DialogError: this is no TDS packet, or the handshake is longer than 1 MiB.
        """
        self._received += len(wire)
        if self._received > MAX_HANDSHAKE_BYTES:
            raise DialogError(f"the {self._peer} sent more than 1 MiB of TLS handshake")
        tls = bytearray()
        view = memoryview(wire)
        while view:
            if not self._rest:
                view = self._read_header(view)
            tls += view[: self._rest]
            taken = min(self._rest, len(view))
            self._rest -= taken
            view = view[taken:]
        return bytes(tls)

    def _read_header(self, view: memoryview) -> memoryview:
        missing = HEADER_BYTES - len(self._header)
        self._header += view[:missing]
        if self._header[0] not in (PRELOGIN, TABULAR_RESULT):
            raise DialogError(f"the {self._peer}'s TLS handshake is not in TDS packets", said=bytes(self._header))
        if len(self._header) == HEADER_BYTES:
            length = int.from_bytes(self._header[2:4], "big")
            if length < HEADER_BYTES:
                raise DialogError(f"the {self._peer} sent a TDS packet of impossible length", said=bytes(self._header))
            self._rest = length - HEADER_BYTES
            self._header.clear()
        return view[missing:]
