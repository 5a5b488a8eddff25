"""A capture without root: what went over the wire, as packets of TCP that tshark and Wireshark read, with TLS's keys.

The bytes are those that the kernel took and gave; sequence numbers, headers and acknowledgements are made around them,
with the addresses and ports that were. Sources: the pcapng draft (draft-ietf-opsawg-pcapng) §4.1, §4.2, §4.3, §4.7;
RFC 791, 8200, 9293.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cfcat.core.codec import Buffer

if TYPE_CHECKING:
    import ssl

__all__ = ["KeyLog", "Packets", "Stream"]

SECTION, INTERFACE, SECRETS, PACKET = 0x0A0D0D0A, 1, 10, 6
RAW_IP = 101  # LINKTYPE_RAW: a packet begins with its IP header
TLS_KEY_LOG = 0x544C534B
COMMENT, RESOLUTION, APPLICATION = 1, 9, 4  # options
NANOSECONDS = 9
MAX_PAYLOAD_BYTES = 60 * 1024  # an IP packet holds less than 64 KiB
TCP, HOP_LIMIT, WINDOW = 6, 64, 65535
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
UNIX_PORT, FIRST_UNIX_CLIENT = 1, 40001  # a Unix socket has no ports


class KeyLog:
    """The secrets of TLS that contexts log, as they come. Keys of this run are in no other file than the capture, and
    where SSLKEYLOGFILE wants them.
    """

    def __init__(self) -> None:
        self._read: dict[str, int] = {}  # so much of each file
        self._own: tuple[int, str] | None = None  # the file for contexts that log nowhere that can be read again
        self._wanted_in: str | None = None  # where such a context did log: /dev/null, a pipe

    def follow(self, context: ssl.SSLContext) -> None:
        """Have it log its secrets, and read these from now on."""
        path = context.keylog_filename
        if path is None or not os.path.isfile(path):
            self._wanted_in = path
            path = context.keylog_filename = self._own_path()
        elif path not in self._read:
            self._read[path] = os.stat(path).st_size

    def _own_path(self) -> str:
        if self._own is None:
            if hasattr(os, "memfd_create"):
                descriptor = os.memfd_create("cfcat-keys", os.MFD_CLOEXEC)
                self._own = descriptor, f"/proc/self/fd/{descriptor}"
            else:
                import tempfile  # lazy: a system without files in memory

                self._own = tempfile.mkstemp(prefix="cfcat-keys-")
            self._read[self._own[1]] = 0
        return self._own[1]

    def take(self) -> bytes:
        """What has been logged since the last time: whole lines."""
        found = b""
        for path, before in self._read.items():
            with contextlib.suppress(OSError), open(path, "rb") as file:  # somebody may have taken it away
                file.seek(before)
                new = file.read()
                new = new[: new.rfind(b"\n") + 1]
                self._read[path] = before + len(new)
                found += new
        if found and self._wanted_in is not None:
            _pass_on(found, self._wanted_in)
        return found

    def close(self) -> None:
        """Forget them; a file of ours goes."""
        if self._own is not None:
            descriptor, path = self._own
            os.close(descriptor)
            if not path.startswith("/proc/"):
                os.unlink(path)
            self._own = None


def _pass_on(lines: bytes, path: str) -> None:
    """Write them there, if that takes them at once."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, lines)
        finally:
            os.close(descriptor)


class Packets:
    """The blocks of one capture. `write` takes each as it is made; `clock` has nanoseconds since 1970."""

    def __init__(self, write: Callable[[bytes], None], clock: Callable[[], int] = time.time_ns) -> None:
        self.clock = clock
        self._write = write
        head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        self._block(SECTION, head + _options({APPLICATION: b"cfcat"}))
        self._block(INTERFACE, struct.pack("<HHI", RAW_IP, 0, 0) + _options({RESOLUTION: bytes((NANOSECONDS,))}))

    def secrets(self, lines: bytes) -> None:
        """Lines of a TLS key log, for the packets behind them."""
        self._block(SECRETS, struct.pack("<II", TLS_KEY_LOG, len(lines)) + _padded(lines))

    def packet(self, data: bytes, at_ns: int, comment: str = "") -> None:
        """One IP packet."""
        head = struct.pack("<IIIII", 0, at_ns >> 32, at_ns & 0xFFFFFFFF, len(data), len(data))
        options = _options({COMMENT: comment.encode()}) if comment else b""
        self._block(PACKET, head + _padded(data) + options)

    def _block(self, kind: int, body: bytes) -> None:
        size = len(body) + 12
        self._write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(options: Mapping[int, bytes]) -> bytes:
    parts = [struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options.items()]
    return b"".join(parts) + struct.pack("<HH", 0, 0)


class _End:
    """One end of a connection: address and port, and the number of its next byte."""

    def __init__(self, address: bytes, port: int) -> None:
        self.address = address
        self.port = port
        self.next = 0
        self.has_ended = False


class Stream:
    """One connection as packets; what `core.watched.Passing` is told. `number`: of this connection in the capture.

    Keys are written before the packets that they open. TLS logs them when it has read the peer's flight: so in a
    handshake what comes is held until we answer.
    """

    def __init__(self, packets: Packets, keys: KeyLog, local: Any, remote: Any, *, accepted: bool, number: int) -> None:
        self._packets = packets
        self._keys = keys
        self._us, self._peer, comment = _ends(local, remote, accepted=accepted, number=number)
        self._held: list[tuple[bytes, int, str]] | None = None
        first, second = (self._peer, self._us) if accepted else (self._us, self._peer)
        self._put(first, second, SYN, comment=comment)
        self._put(second, first, SYN | ACK)
        self._put(first, second, ACK)

    # ---- what happens

    def sent(self, data: Buffer) -> None:
        """As `Passing.sent`."""
        self._let_go()
        self._put_data(self._us, self._peer, data)
        self._let_go()

    def received(self, data: Buffer) -> None:
        """As `Passing.received`."""
        self._put_data(self._peer, self._us, data)

    def ended(self, *, by_us: bool) -> None:
        """As `Passing.ended`; once for each end."""
        end, other = (self._us, self._peer) if by_us else (self._peer, self._us)
        if not end.has_ended:
            end.has_ended = True
            self._put(end, other, FIN | ACK)
            self._put(other, end, ACK)

    def reset(self, *, by_us: bool) -> None:
        """As `Passing.reset`."""
        end, other = (self._us, self._peer) if by_us else (self._peer, self._us)
        self._put(end, other, RST | ACK)

    def begin_handshake(self, context: ssl.SSLContext) -> None:
        """As `Passing.begin_handshake`."""
        self._keys.follow(context)
        self._held = []

    def end_handshake(self) -> None:
        """As `Passing.end_handshake`."""
        self._let_go()
        self._held = None

    def forget_keys(self) -> None:
        """As `Passing.forget_keys`: they came into a file that is followed for another connection."""
        self._keys.take()

    def _let_go(self) -> None:
        """Write the keys that there are, and what is held."""
        if self._held is None:
            return
        if lines := self._keys.take():
            self._packets.secrets(lines)
        for packet in self._held:
            self._packets.packet(*packet)
        self._held = []

    # ---- packets

    def _put_data(self, end: _End, other: _End, data: Buffer) -> None:
        view = memoryview(data)
        for start in range(0, len(view), MAX_PAYLOAD_BYTES):
            self._put(end, other, PSH | ACK, bytes(view[start : start + MAX_PAYLOAD_BYTES]))

    def _put(self, end: _End, other: _End, flags: int, payload: bytes = b"", comment: str = "") -> None:
        acknowledged = other.next if flags & ACK else 0
        packet = _ip(end, other, _segment(end, other, acknowledged, flags, payload))
        end.next = (end.next + len(payload) + bool(flags & (SYN | FIN))) % (1 << 32)
        if self._held is None:
            self._packets.packet(packet, self._packets.clock(), comment)
        else:
            self._held.append((packet, self._packets.clock(), comment))


def _ends(local: Any, remote: Any, *, accepted: bool, number: int) -> tuple[_End, _End, str]:
    """Both ends, ours first, and a comment where their addresses are made up."""
    if not isinstance(local, tuple) or not isinstance(remote, tuple):
        path = next((name for name in (local, remote) if name), "") or "without a name"
        shown = f"@{path[1:].decode(errors='backslashreplace')}" if isinstance(path, bytes) else path
        loopback = socket.inet_aton("127.0.0.1")
        server, client = _End(loopback, UNIX_PORT), _End(loopback, (FIRST_UNIX_CLIENT + number) % 65536)
        us, peer = (server, client) if accepted else (client, server)
        return us, peer, f"a Unix socket: {shown}; addresses and ports are made up"
    return _End(_packed(local[0]), local[1]), _End(_packed(remote[0]), remote[1]), ""


def _packed(address: str) -> bytes:
    address = address.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _segment(end: _End, other: _End, acknowledged: int, flags: int, payload: bytes) -> bytes:
    offset = 5 << 4  # words of the header
    head = struct.pack("!HHIIBBHHH", end.port, other.port, end.next, acknowledged, offset, flags, WINDOW, 0, 0)
    size = len(head) + len(payload)
    pseudo = end.address + other.address + struct.pack("!II" if len(end.address) > 4 else "!HH", *_lengths(end, size))
    checksum = _checksum(pseudo + head + payload)
    return head[:16] + struct.pack("!H", checksum) + head[18:] + payload


def _lengths(end: _End, size: int) -> tuple[int, int]:
    """The end of the pseudo header: of IPv6 the length first, of IPv4 the protocol."""
    return (size, TCP) if len(end.address) > 4 else (TCP, size)


def _ip(end: _End, other: _End, segment: bytes) -> bytes:
    if len(end.address) > 4:
        return struct.pack("!IHBB", 6 << 28, len(segment), TCP, HOP_LIMIT) + end.address + other.address + segment
    dont_fragment = 0x4000
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, dont_fragment, HOP_LIMIT, TCP, 0)
    head += end.address + other.address
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + segment


def _checksum(data: bytes) -> int:
    """The ones' complement of the ones' complement sum of 16-bit words (RFC 1071): a remainder, which is fast."""
    total = int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF
    return 0xFFFF - total if total else 0xFFFF if not any(data) else 0
