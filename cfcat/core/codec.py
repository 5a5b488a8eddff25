"""Wire bytes to chunks and back; EOF to close_notify and back.

Pure: `PlainCodec` passes bytes through, `TlsCodec` drives an `ssl.SSLObject` over two `MemoryBIO`s. Neither sees a
socket: `wire` moves the bytes. asyncio's own TLS and `SSLSocket` are both unusable here: they cannot half-close,
lose data when the peer ends first, deliver injected clear text as if it came under TLS and hide truncation.

Source: RFC 8446 §6.1, RFC 5246 §7.2.1; rules T3-T9, V9 (not S12), V11; the recipe of the security notes, section c.
"""

from __future__ import annotations

import ssl
from collections import deque
from typing import Any, Protocol

from cfcat.core.certificate import distrust
from cfcat.errors import LOST, CertificateError, TlsError, TruncatedError

__all__ = ["Buffer", "Codec", "PlainCodec", "TlsCodec"]

Buffer = bytes | bytearray | memoryview

# One call to write() makes this much cipher text at most, so that what waits for the network stays bounded.
ENCODE_BYTES = 256 * 1024
# Cipher text to ask the network for at a time: a record is 16 KiB, and each call into OpenSSL has its price.
WIRE_READ_BYTES = 256 * 1024
QUOTE_BYTES = 40  # of what a peer said instead of TLS
TLS_FIRST_BYTES = frozenset({0x15, 0x16})  # alert, handshake (RFC 8446 §5.1)


class Codec(Protocol):
    """What `wire` needs to know of a stream's bytes."""

    @property
    def ends_with_fin(self) -> bool:
        """Is TCP's own FIN our EOF? Under TLS it is not: servers lose data when a FIN follows close_notify."""

    def wire_limit(self, limit: int) -> int:
        """How many wire bytes to ask for when `limit` bytes are wanted."""

    def receive(self, data: Buffer) -> None:
        """Take bytes from the wire; b"" is the wire's EOF (FIN)."""

    def read(self, limit: int) -> bytes | None:
        """Return 1 to `limit` bytes, b"" at the peer's EOF, None when the wire must give more.

        Raises:
            TruncatedError: TCP ended without close_notify.
            TlsError: what came is no TLS. Either way all bytes before it have been returned.
        """

    def encode(self, chunk: memoryview) -> tuple[Buffer, int]:
        """Wire bytes for the head of a chunk, and how much of the chunk they are."""

    def end(self) -> bytes:
        """Wire bytes of our EOF. May be called again; the end comes once."""

    def answer(self) -> bytes:
        """Wire bytes that reading gave rise to: handshake, alerts, KeyUpdate answers."""


class PlainCodec:
    """Clear text: what is on the wire is what is read."""

    ends_with_fin = True

    def __init__(self) -> None:
        self._chunks: deque[memoryview] = deque()
        self._eof = False

    def wire_limit(self, limit: int) -> int:
        return limit  # R3: nothing is read ahead of a read

    def receive(self, data: Buffer) -> None:
        if data:
            self._chunks.append(memoryview(data))
        else:
            self._eof = True

    def read(self, limit: int) -> bytes | None:
        if not self._chunks:
            return b"" if self._eof else None
        chunk = self._chunks.popleft()
        if len(chunk) > limit:
            self._chunks.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        # recv() made a bytes object: hand it out again without a copy.
        return chunk.obj if isinstance(chunk.obj, bytes) and len(chunk.obj) == len(chunk) else bytes(chunk)

    def encode(self, chunk: memoryview) -> tuple[Buffer, int]:
        return chunk, len(chunk)

    def end(self) -> bytes:
        return b""

    def answer(self) -> bytes:
        return b""


class TlsCodec:
    """TLS over two memory buffers, one direction of the half-close at a time.

    The order of things matters to OpenSSL, see the comments. `server_hostname` is sent as SNI where it is a name
    and checked against the certificate, name or IP address (T1, T2). `ignore_unexpected_eof`: a FIN without
    close_notify is an EOF, not TruncatedError.
    """

    ends_with_fin = False

    def __init__(
        self,
        context: ssl.SSLContext,
        server_hostname: str | None = None,
        *,
        server_side: bool = False,
        ignore_unexpected_eof: bool = False,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._said = b""
        self._kept: deque[bytes] = deque()
        self._eof = False
        self._fin = False
        self._ignore_unexpected_eof = ignore_unexpected_eof
        self._error: TlsError | None = None
        self._ended = False

    def wire_limit(self, limit: int) -> int:
        return WIRE_READ_BYTES

    def receive(self, data: Buffer) -> None:
        if not data:
            self._keep_records()
            self._fin = True
            self._incoming.write_eof()
            return
        if len(self._said) < QUOTE_BYTES:
            self._said += bytes(data[: QUOTE_BYTES - len(self._said)])
        self._incoming.write(data)

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done, the certificate check included.

        Send `answer()` after each call, also after one that raised: the alert tells the peer why.

        Raises:
            CertificateError: the peer is not who it should be.
            TlsError: the peer refused, ended, or speaks no TLS (then `said` quotes it).
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._handshake_error(error) from error
        return True

    def read(self, limit: int) -> bytes | None:
        if self._kept:
            chunk = self._kept.popleft()
            if len(chunk) > limit:
                self._kept.appendleft(chunk[limit:])
            return chunk[:limit]
        first = self._read_record(limit)
        if not first:
            if self._error is not None:
                raise self._error
            return first
        # A record holds 16 KiB at most: join what is there, a wake-up should move more than that.
        records, size = [first], len(first)
        while size < limit and self._error is None and (record := self._read_record(limit - size)):
            records.append(record)
            size += len(record)
        return b"".join(records) if len(records) > 1 else first

    def _read_record(self, limit: int) -> bytes | None:
        """As `read`, one record; an error is kept in `_error`, to come after the data."""
        if self._eof or self._error is not None:
            return b"" if self._eof else None
        try:
            chunk = self._tls.read(limit)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            chunk = b""  # a clean EOF after our own close_notify; before it, read() returns b""
        except ssl.SSLError as error:
            if _is_eof(error):
                return self._end_without_close_notify(error)
            self._error = TlsError(f"TLS failed: {_reason_text(error)}", reason=error.reason or "")
            self._error.__cause__ = error
            return None
        # All that came before the FIN has been read by then. OpenSSL can be told to take a FIN for close_notify
        # (OP_IGNORE_UNEXPECTED_EOF); Python before 3.11.4 does that in its default contexts.
        if not chunk and self._fin:
            return self._end_without_close_notify(None)
        self._eof = not chunk
        return chunk

    def _end_without_close_notify(self, cause: Exception | None) -> bytes | None:
        if self._ignore_unexpected_eof:
            self._eof = True
            return b""
        self._error = TruncatedError(LOST, "the connection ended without TLS close_notify")
        self._error.__cause__ = cause
        return None

    def _keep_records(self) -> None:
        while self._error is None and (record := self._read_record(ENCODE_BYTES)):
            self._kept.append(record)

    def encode(self, chunk: memoryview) -> tuple[Buffer, int]:
        try:
            taken = self._tls.write(chunk[:ENCODE_BYTES])
        except ssl.SSLError as error:
            raise TlsError(f"TLS failed: {_reason_text(error)}", reason=error.reason or "") from error
        return self._outgoing.read(), taken

    def end(self) -> bytes:
        if not self._ended:
            self._ended = True
            self._close_notify()
        return self._outgoing.read()

    def _close_notify(self) -> None:
        # Whole records left in the incoming buffer make unwrap() fatal, and the data is gone: read them first.
        self._keep_records()
        if self._error is not None:
            return  # nobody is there to be told
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # expected: it would like to wait for the peer's close_notify; reading goes on instead
        except ssl.SSLError:
            self._eof = True  # the peer has shut TLS down already in its own way

    def answer(self) -> bytes:
        return self._outgoing.read() if self._outgoing.pending else b""

    def _handshake_error(self, error: ssl.SSLError) -> TlsError:
        if isinstance(error, ssl.SSLCertVerificationError):
            host = self._tls.server_hostname
            text = distrust(error.verify_code, error.verify_message, self._shown_certificate(), host)
            return CertificateError(f"certificate not trusted: {text}", verify_code=error.verify_code)
        if self._said and self._said[0] not in TLS_FIRST_BYTES:
            return TlsError("peer does not speak TLS", reason=error.reason or "", said=self._said)
        if _is_eof(error):
            return TlsError("peer closed the connection during the TLS handshake", reason="EOF")
        return TlsError(f"TLS handshake failed: {_reason_text(error)}", reason=error.reason or "")

    def _shown_certificate(self) -> dict[str, Any]:
        """The certificate that was refused, decoded as by `getpeercert()`, which only tells of a trusted one.

        Python 3.13 has `get_unverified_chain()` for that, but in DER only. The object beneath has it decoded, in
        every version from 3.10 on; should that ever change, the message is the poorer and nothing else.
        """
        try:
            chain = self._tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
            return dict(chain[0].get_info()) if chain else {}
        except (AttributeError, ssl.SSLError, ValueError):
            return {}


def _is_eof(error: ssl.SSLError) -> bool:
    """Python before 3.11.4 has no class of its own for what OpenSSL 3 says at a FIN."""
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def _reason_text(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: SSLV3_ALERT_HANDSHAKE_FAILURE is "alert handshake failure"."""
    words = (error.reason or "protocol error").lower().replace("_", " ")
    for prefix in ("sslv3 alert ", "tlsv1 alert ", "tlsv13 alert "):
        if words.startswith(prefix):
            return "the peer sent the alert " + words.removeprefix(prefix)
    return words
