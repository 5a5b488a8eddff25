"""The codec of TLS: wire bytes to chunks and back, EOF to close_notify and back.

Pure: it drives an `ssl.SSLObject` over two `MemoryBIO`s and never sees a socket, `wire` moves the bytes. asyncio's own
TLS and `SSLSocket` are both unusable here: they cannot half-close, lose data when the peer ends first, deliver injected
clear text as if it came under TLS and hide truncation.

Source: RFC 8446 §6.1, RFC 5246 §7.2.1; rules T3-T9, V9 (not S12), V11.
"""

from __future__ import annotations

import ssl
from collections import deque
from typing import Any, cast

from cfcat.core.certificate import PeerCertificate, TlsInfo, distrust, read_certificate
from cfcat.core.client_hello import MAX_HELLO_BYTES, server_name_in
from cfcat.core.codec import Buffer, fill
from cfcat.errors import LOST, CertificateError, TlsError, TruncatedError

__all__ = ["TlsCodec"]

# One call to write() makes this much cipher text at most: what waits for the network stays bounded, and the C library
# gives the same memory again (from 128 KiB on it asks the kernel each time). It fits one segment of loopback, too.
ENCODE_BYTES = 60 * 1024
RECORD_BYTES = 16 * 1024  # the most that one record holds (RFC 8446 §5.1)
DER = 2  # _ssl.ENCODING_DER, which has no public name
QUOTE_BYTES = 40  # of what a peer said instead of TLS
ALERT, HANDSHAKE = 0x15, 0x16  # content types (RFC 8446 §5.1)
# OpenSSL's names that do not say who has done what.
IN_OUR_WORDS = {
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "the server does not know secure renegotiation (RFC 5746)",
}
# The alerts of a client that does not like a server's certificate (RFC 8446 §6.2).
DISTRUST = frozenset(
    {"TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"}
    | {"SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_REVOKED", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"}
)
TLS_FIRST_BYTES = frozenset({ALERT, HANDSHAKE})


class TlsCodec:
    """TLS over two memory buffers, one direction of the half-close at a time.

    States: handshake (`handshake` until it says True) → data; then each direction ends by itself, ours with `end`, the
    peer's when `read_into` returns 0. An error is final, and comes after all data before it. The order of calls matters
    to OpenSSL, see the comments. `wire` calls `handshake`, its two directions the rest.

    As the client, `server_hostname` is sent as SNI where it is a name and checked against the certificate, name or IP
    address (T1, T2). With `server_side`, it is the server: it has no name to check, any SNI of the client is taken, and
    the client's certificate is checked where the context asks for one. `ignore_unexpected_eof`: a FIN without
    close_notify counts as EOF, and so does a reset. An attacker who can forge one can also forge the other. `relays`: a
    FIN without close_notify is EOF and `was_cut` says so, so that the other direction goes on; no FIN follows ours.
    """

    clear_in = False
    clear_out = False

    def __init__(
        self,
        context: ssl.SSLContext,
        server_hostname: str | None = None,
        *,
        server_side: bool = False,
        ignore_unexpected_eof: bool = False,
        relays: bool = False,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ends_with_fin = server_side and not relays  # I38
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._first_bytes = b""  # of the peer, to be quoted where they are no TLS
        self._hello = b""  # of a client, until the handshake is done
        self._client_asked_for: str | None = None
        self._version = ""
        self._decrypted: deque[memoryview] | None = None  # read ahead; comes before what OpenSSL still has
        self.is_drained = False
        self._is_eof = False
        self._has_fin = False
        self._has_gap = False  # there was no memory for what came: nothing behind it can be decrypted
        self._is_handshake_done = False
        self._ignore_unexpected_eof = ignore_unexpected_eof or relays
        self.reset_is_eof = ignore_unexpected_eof and not relays
        self.was_cut = False  # EOF came without close_notify
        self._error: TlsError | None = None
        self._has_ended = False
        self._has_refused_renegotiation = False

    def receive(self, data: Buffer) -> None:
        if self._has_gap:
            return
        if not data:
            self._keep_records()
            self.is_drained = False
            self._has_fin = True
            # OpenSSL takes it for fatal, and we could send nothing more.
            if not (self._ignore_unexpected_eof and self._is_handshake_done):
                self._incoming.write_eof()
            return
        self.is_drained = False
        try:
            if len(self._first_bytes) < QUOTE_BYTES:
                self._first_bytes += bytes(data[: QUOTE_BYTES - len(self._first_bytes)])
            if self._tls.server_side and not self._is_handshake_done and len(self._hello) < MAX_HELLO_BYTES:
                self._hello += bytes(data)
            self._incoming.write(data)
        except (ssl.SSLError, MemoryError) as error:  # the buffer cannot grow; OpenSSL's name for that is the former
            self._has_gap = True
            raise MemoryError from error

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
        except ssl.SSLZeroReturnError as error:
            raise TlsError("TLS handshake failed: the peer sent the alert close notify", reason="EOF") from error
        except ssl.SSLError as error:
            failure = self._handshake_error(error)
            failure.by_client = self._tls.server_side
            raise failure from error
        self._is_handshake_done = True
        self._version = self._tls.version() or ""  # OpenSSL does not tell it after an error
        self._client_asked_for, self._hello = server_name_in(self._hello), b""
        return True

    def read_into(self, buffer: memoryview) -> int | None:
        if self.is_drained:  # OpenSSL would say so by an exception, which costs
            return None
        if self._decrypted:
            return fill(buffer, self._decrypted)
        size = self._read_records(buffer)
        if size or self._is_eof:
            return size
        if self._error is not None:
            raise self._error
        return None

    def _read_records(self, buffer: memoryview) -> int:
        """Decrypt what is there; the end and an error are kept, to come after the data.

        A record holds 16 KiB at most: join what is there, a wake-up should move more than that.
        """
        size, limit, read = 0, len(buffer), self._tls.read
        self.is_drained = False
        if self._is_eof or self._error is not None:
            return 0
        try:
            while size < limit:
                count = cast(int, read(limit - size, buffer[size:]))  # into a buffer; the stub knows only the other way
                if not count:
                    self._end_of_data()
                    break
                size += count
                if size < limit and not (self._incoming.pending or self._has_fin or self._tls.pending()):
                    self.is_drained = True
                    break
        except ssl.SSLWantReadError:
            if self._has_fin:
                self._end_without_close_notify(None)
            else:
                self.is_drained = True
        except ssl.SSLZeroReturnError:  # a clean EOF after our own close_notify; before it, read() returns 0
            self._end_of_data()
        except ssl.SSLError as error:
            if _is_eof(error):
                self._end_without_close_notify(error)
            else:
                self._fail(error)
        return size

    def _end_of_data(self) -> None:
        # All that came before the FIN has been read by then. OpenSSL can be told to take a FIN for close_notify
        # (OP_IGNORE_UNEXPECTED_EOF); Python before 3.11.4 does that in its default contexts.
        if self._has_fin:
            self._end_without_close_notify(None)
        else:
            self._is_eof = True

    def _fail(self, error: ssl.SSLError) -> None:
        if self._has_refused_renegotiation:  # this is the real reason why the peer gave up, whatever alert it sent
            peer = "client" if self._tls.server_side else "server"
            text = f"the {peer} asked to renegotiate, which is not done here"
            self._error = TlsError(text, reason="NO_RENEGOTIATION")
        else:
            self._error = TlsError(f"TLS failed: {_reason_text(error)}", reason=_reason(error))
        self._error.by_client = self._tls.server_side
        self._error.__cause__ = error

    def _end_without_close_notify(self, cause: Exception | None) -> None:
        if self._ignore_unexpected_eof:
            self._is_eof = self.was_cut = True
            return
        self._error = TruncatedError(LOST, "the connection ended without TLS close_notify")
        self._error.__cause__ = cause

    def _keep_records(self) -> None:
        buffer = memoryview(bytearray(RECORD_BYTES))
        while size := self._read_records(buffer):
            if self._decrypted is None:
                self._decrypted = deque()
            self._decrypted.append(memoryview(bytes(buffer[:size])))
        self.is_drained = False

    def refusal(self) -> TlsError | None:
        if self._is_handshake_done:
            self._keep_records()
        return None if isinstance(self._error, TruncatedError) else self._error

    def encode(self, chunk: memoryview) -> tuple[Buffer, int]:
        try:
            taken = self._tls.write(chunk[:ENCODE_BYTES])
        except ssl.SSLError as error:
            raise TlsError(f"TLS failed: {_reason_text(error)}", reason=_reason(error)) from error
        return self._outgoing.read(), taken

    def end(self) -> bytes:
        if not self._has_ended:
            self._has_ended = True
            self._close_notify()
        return self._outgoing.read()

    def _close_notify(self) -> None:
        # Whole records left in the incoming buffer make unwrap() fatal, and the data is gone: read them first.
        self._keep_records()
        if self._error is not None:
            return  # the peer is gone: nobody is there for a close_notify
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # expected: unwrap() wants to wait for the peer's close_notify; we go on reading instead
        except ssl.SSLError as error:
            if not self._is_eof:  # else the peer has shut TLS down already, in its own way
                self._fail(error)

    @property
    def has_answer(self) -> bool:
        return self._outgoing.pending > 0

    def answer(self) -> bytes:
        if not self._outgoing.pending:
            return b""
        answer = self._outgoing.read()
        # OpenSSL answers a HelloRequest with an alert, no_renegotiation, and says nothing of it to us.
        if answer[0] == ALERT and self._is_handshake_done and not self._has_ended and self._error is None:
            self._has_refused_renegotiation = True
        return answer

    def _handshake_error(self, error: ssl.SSLError) -> TlsError:
        if isinstance(error, ssl.SSLCertVerificationError):
            host = self._tls.server_hostname
            chain = self._chain("get_verified_chain") or self._chain("get_unverified_chain")  # as far as it was built
            text = distrust(error.verify_code, error.verify_message, [_decoded(each) for each in chain], host)
            return CertificateError(
                f"certificate not trusted: {text}", verify_code=error.verify_code, chain=list(map(_read, chain))
            )
        if self._first_bytes and self._first_bytes[0] not in TLS_FIRST_BYTES:
            return TlsError("peer does not speak TLS", reason=_reason(error), said=self._first_bytes)
        if _is_eof(error):
            return TlsError("peer closed the connection during the TLS handshake", reason="EOF")
        text = _reason_text(error)
        if self._tls.server_side:
            if _reason(error) == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
                return CertificateError("the client sent no certificate")
            if _reason(error) in DISTRUST:
                alert = text.removeprefix("the peer sent the alert ")
                text = f"the client does not trust our certificate (alert {alert})"
        if not _reason(error) and self._first_bytes[:1] == bytes((ALERT,)) and len(self._first_bytes) > 6:
            text = f"the peer sent the alert number {self._first_bytes[6]}"  # one that OpenSSL has no name for
        return TlsError(f"TLS handshake failed: {text}", reason=_reason(error))

    @property
    def ignored_bytes(self) -> int:
        """How many bytes came behind the peer's close_notify, encrypted or not; they are not read (SEC-R9)."""
        return self._incoming.pending if self._is_eof else 0

    @property
    def context(self) -> ssl.SSLContext:
        """What it was made with."""
        return self._tls.context

    def info(self) -> TlsInfo:
        """Version, cipher and certificates. Ask after the handshake."""
        cipher = self._tls.cipher()
        context = self._tls.context
        # A client has no name that could be checked, and may have no certificate.
        shown = self._chain("get_unverified_chain")
        if self._tls.server_side:
            verified = context.verify_mode == ssl.CERT_REQUIRED or (
                context.verify_mode != ssl.CERT_NONE and bool(shown)
            )
        else:
            verified = context.verify_mode != ssl.CERT_NONE and context.check_hostname
        chain = self._chain("get_verified_chain") if verified else []
        return TlsInfo(
            version=self._version,
            cipher=cipher[0] if cipher else "",
            alpn=self._tls.selected_alpn_protocol(),
            server_name=self._client_asked_for if self._tls.server_side else self._tls.server_hostname,
            verified=verified,
            chain=tuple(map(_read, chain or shown)),
        )

    def _chain(self, way: str) -> list[Any]:
        """The peer's certificates, its own first; empty where they cannot be had.

        Python 3.13 has `get_unverified_chain()` for that, but in DER only. The object beneath has it decoded, in
        every version from 3.10 on; if that changes, only messages lose detail.
        """
        try:
            found = getattr(self._tls._sslobj, way)()  # type: ignore[attr-defined]
            return [each for each in found or [] if each is not None]  # None: a client may show none, and has not
        except (AttributeError, ssl.SSLError):
            return []


def _read(certificate: Any) -> PeerCertificate:
    return read_certificate(_decoded(certificate), certificate.public_bytes(DER))


def _decoded(certificate: Any) -> dict[str, Any]:
    try:
        return dict(certificate.get_info())
    except (ssl.SSLError, ValueError):  # what is in it makes no sense
        return {}


def _is_eof(error: ssl.SSLError) -> bool:
    """Python before 3.11.4 has no class of its own for what OpenSSL 3 says at a FIN."""
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's name for it, such as TLSV1_ALERT_NO_APPLICATION_PROTOCOL, or "" where it has none.

    Where Python does not know the name, OpenSSL's words are in the text: "[SSL] tlsv1 alert ... (_ssl.c:1006)".
    """
    words = "" if len(error.args) < 2 else str(error.args[1]).removeprefix("[SSL] ").partition(" (")[0]
    known = words and not words.startswith(("[", "unknown error"))
    return error.reason or (words.upper().replace(" ", "_") if known else "")


def _reason_text(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: SSLV3_ALERT_HANDSHAKE_FAILURE is "the peer sent the alert handshake failure"."""
    reason = _reason(error)
    if reason in IN_OUR_WORDS:
        return IN_OUR_WORDS[reason]
    words = (reason or "protocol error").lower().replace("_", " ")
    for prefix in ("sslv3 alert ", "tlsv1 alert ", "tlsv13 alert ", "tlsv1 "):  # the last: TLSV1_UNRECOGNIZED_NAME
        if words.startswith(prefix):
            return "the peer sent the alert " + words.removeprefix(prefix)
    return words
