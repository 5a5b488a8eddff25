"""Options of `connect()` and the TLS context that they ask for.

Pure, but for the certificate files that a context reads. Source: rules O1-O6, V15, T1.
"""

from __future__ import annotations

import dataclasses
import os
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cfcat.core.choices import SECURE_TRANSPORTS, AddressFamily, SecureTransport, TlsVersion
from cfcat.core.workers import WorkersPolicy
from cfcat.errors import CaFileError, ClientCertificateError, OptionsError, reason_of
from cfcat.record.events import Connecting, Trace

__all__ = [
    "AddressFamily",
    "SecureTransport",
    "SocketOptions",
    "TlsVersion",
    "connecting",
    "log_keys",
    "make_options",
    "make_tls_context",
]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# The keychain of macOS and the store of Windows are not OpenSSL's.
PLATFORM_STORE = sys.platform in ("darwin", "win32")
ADDRESS_FAMILIES = (None, "ipv4", "ipv6")

DEFAULT_CIPHERS = "DEFAULT"  # OpenSSL's own list (ciphers(1))

BAD_SECURE_TRANSPORT = "Unsupported value in secureTransport socket option: "
NEGATIVE_HIGH_WATER = "The value cannot be converted because it is negative and this API expects a positive bigint."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """Options of `connect()`; all may be left out (O1).

    `secure_transport`: "off", "on" (TLS from the first byte) or "starttls" (clear text until `start_tls()`).
    `allow_half_open`: may we go on writing after the peer's EOF has been read (H1, H4)?
    `high_water_mark`: bytes that `writer.desired_size` starts from (O4); 1 if None.
    Beyond the reference: `tls` is the context to use instead of the verifying default; `connect_timeout`, in
    seconds, is one deadline for resolving, connecting and handshake, and one for a later upgrade;
    `expected_server_hostname` replaces the address's host in SNI and certificate check; `address_family`
    limits the addresses tried; `ignore_unexpected_eof` takes a FIN without close_notify for the end of a TLS stream;
    `policy` judges each resolved one and limits how many sockets there are at a time: blocked addresses are not tried
    (P1-P9); `trace` is told how the connection is made, as it happens: a `cfcat.core.trace.TraceEvent` each (what it
    raises goes to the event loop's exception handler, and changes nothing).
    """

    secure_transport: SecureTransport = "off"
    allow_half_open: bool = False
    high_water_mark: int | None = None
    tls: ssl.SSLContext | None = None
    expected_server_hostname: str | None = None
    address_family: AddressFamily | None = None
    connect_timeout: float | None = None
    ignore_unexpected_eof: bool = False
    policy: WorkersPolicy | None = None
    trace: Trace | None = None

    def __post_init__(self) -> None:
        """Raises OptionsError for a wrong value, TypeError for a wrong type (V15)."""
        if self.secure_transport not in SECURE_TRANSPORTS:
            value = "null" if self.secure_transport is None else str(self.secure_transport)
            raise OptionsError(BAD_SECURE_TRANSPORT + value)
        if self.allow_half_open not in (False, True):
            raise TypeError(f"allow_half_open must be bool, not {type(self.allow_half_open).__name__}")
        self._expect("high_water_mark", int, type(None))
        if isinstance(self.high_water_mark, bool):
            raise TypeError("high_water_mark must be int, not bool")
        if self.high_water_mark is not None and self.high_water_mark < 0:
            raise OptionsError(NEGATIVE_HIGH_WATER)
        self._expect("tls", ssl.SSLContext, type(None))
        self._expect("expected_server_hostname", str, type(None))
        if self.address_family not in ADDRESS_FAMILIES:
            raise OptionsError(f"address_family must be 'ipv4' or 'ipv6', not {self.address_family!r}")
        self._expect("policy", WorkersPolicy, type(None))
        if self.trace is not None and not callable(self.trace):
            raise TypeError(f"trace must be callable, not {type(self.trace).__name__}")
        self._expect("connect_timeout", int, float, type(None))
        if self.connect_timeout is not None and not self.connect_timeout > 0:
            raise OptionsError(f"connect_timeout must be a positive number, not {self.connect_timeout}")

    def _expect(self, name: str, *types: type) -> None:
        value = getattr(self, name)
        if not isinstance(value, types):
            wanted = " or ".join("None" if t is type(None) else t.__name__ for t in types)
            raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


FIELDS = frozenset(field.name for field in dataclasses.fields(SocketOptions))


def make_options(options: SocketOptions | Mapping[str, object] | None, changes: Mapping[str, Any]) -> SocketOptions:
    """Join the two ways of giving options: unknown keys of a mapping are ignored (O1), unknown keywords are not.

    Raises:
        OptionsError, TypeError: as `SocketOptions`.
    """
    if options is None:
        base: dict[str, Any] = {}
    elif isinstance(options, SocketOptions):
        base = {name: getattr(options, name) for name in FIELDS}
    elif isinstance(options, Mapping):
        base = {name: value for name, value in options.items() if name in FIELDS}
    else:
        raise TypeError(f"options must be SocketOptions or a mapping, not {type(options).__name__}")
    merged = {**base, **changes}
    if merged.get("allow_half_open", False) is None:
        del merged["allow_half_open"]  # not given
    return SocketOptions(**merged)


def make_tls_context(
    *,
    cacert: str | os.PathLike[str] | None = None,
    insecure: bool = False,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    password: Callable[[], str] | None = None,
    alpn: Sequence[str] = (),
    tls_min: TlsVersion = "1.2",
    tls_max: TlsVersion | None = None,
    ciphers: str = DEFAULT_CIPHERS,
) -> ssl.SSLContext:
    """The TLS defaults of cfcat: the peer is verified, its name too, from TLS 1.2 on.

    `cacert`: a PEM file of authorities to trust instead of the platform's. `insecure`: no verification at all.
    `cert` and `key`: PEM files of a client certificate with its chain, and of its key where that is not in the same
    file; `password` is asked for that of an encrypted key. `alpn`: protocol IDs to offer, the best first (SEC-R8).
    `ciphers`: suites of TLS 1.2 as OpenSSL's `ciphers(1)` names them; those of TLS 1.3 are always all.
    SSL_CERT_FILE and SSL_CERT_DIR, either or both, replace the platform's authorities; `cacert` replaces them all.

    Raises:
        CaFileError: `cacert`, or what SSL_CERT_FILE or SSL_CERT_DIR names, cannot be used.
        ClientCertificateError: `cert` or `key` cannot be used.
        OptionsError: `alpn` is no list of IDs, `tls_min` is above `tls_max`, or `ciphers` names no suite.
    """
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    platform_store = cacert is None and not insecure and PLATFORM_STORE and not (file or folders)
    context = _platform_context() if platform_store else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[tls_min]
    if tls_max is not None:
        if VERSIONS[tls_max] < VERSIONS[tls_min]:
            raise OptionsError(f"no TLS version is at least {tls_min} and at most {tls_max}")
        context.maximum_version = VERSIONS[tls_max]
    # The default accepts a certificate that names its host in the subject only; no browser has for years.
    context.hostname_checks_common_name = False
    # Python 3.13 sets both and 3.11 neither, and the same command must do the same on each. Strict would refuse most
    # private authorities that `openssl req` makes, which every other tool takes, and drive people to -k.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # Builds of Python have lists of their own, of 17 suites or of 60; this is OpenSSL's, under the system's policy.
    _set_ciphers(context, ciphers)
    # TLS 1.2 renegotiation has no use here, and OpenSSL would obey a HelloRequest.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # openssl.cnf can set this, and truncation would look like EOF (T7).
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", ssl.Options(0))
    if alpn:
        _set_alpn(context, alpn)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif cacert is not None:
        _load(context, os.fspath(cacert), os.fspath(cacert))
    elif file or folders:
        # OpenSSL skips what it cannot read, and then trusts nobody: say it here, not as "unknown issuer". And where
        # only one variable is set, it would go on trusting what the system has in the other place.
        if file:
            _load(context, file, f"SSL_CERT_FILE={file}")
        if folders:
            _load_folders(context, folders)
    elif not platform_store:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if cert is not None:
        _load_client_certificate(context, os.fspath(cert), None if key is None else os.fspath(key), password)
    return context


def log_keys(context: ssl.SSLContext) -> str:
    """Honour SSLKEYLOGFILE: secrets are appended to a file that only its owner may read.

    Returns why it cannot be written, or "".
    """
    path = os.environ.get("SSLKEYLOGFILE")
    if not path:
        return ""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))  # OpenSSL: 0644
        context.keylog_filename = path
    except OSError as error:
        return f"SSLKEYLOGFILE={path}: {reason_of(error)}"
    return ""


def _platform_context() -> ssl.SSLContext:
    import truststore  # lazy: not needed on Linux

    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context


def _set_alpn(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    if not all(name.isascii() and 0 < len(name) < 256 for name in alpn):
        raise OptionsError("an ALPN protocol ID is 1 to 255 ASCII characters")
    context.set_alpn_protocols(list(alpn))


def _load_client_certificate(
    context: ssl.SSLContext, cert: str, key: str | None, password: Callable[[], str] | None
) -> None:
    asked = False

    def ask() -> str:
        nonlocal asked
        asked = True
        if password is None:
            raise ClientCertificateError(f"{key or cert}: the key is encrypted, and no password is given")
        return password()

    for path in (cert, key):
        if path is not None:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ClientCertificateError(f"{path}: {reason_of(error)}") from error
    try:
        # Always with a callback: without one OpenSSL itself would ask, on a terminal of its own choice.
        context.load_cert_chain(cert, key, ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = f"{key or cert}: the key is not that of the certificate"
        elif asked:
            text = f"{key or cert}: the password is wrong, or the key is damaged"
        else:
            text = f"{cert}: no certificate with its key in PEM form" + ("" if key is None else f" there and in {key}")
        raise ClientCertificateError(text) from error
    except ValueError as error:  # a password that OpenSSL does not take: too long
        raise ClientCertificateError(f"{key or cert}: {error}") from error
    context.post_handshake_auth = True


def _load_folders(context: ssl.SSLContext, folders: str) -> None:
    """Trust the hashed files in folders (openssl-rehash(1)), several of them with a colon between, as a path."""
    if not any(os.path.isdir(folder) for folder in folders.split(os.pathsep)):
        raise CaFileError(f"SSL_CERT_DIR={folders}: no such folder")
    context.load_verify_locations(capath=folders)


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise OptionsError(f"no cipher suite of TLS 1.2 matches {ciphers!r}") from error


def _load(context: ssl.SSLContext, path: str, name: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise CaFileError(f"{name}: no certificates in PEM form in it") from error
    except (OSError, ValueError) as error:
        raise CaFileError(f"{name}: {reason_of(error)}") from error


def connecting(target: str, options: SocketOptions, protocol: str | None, *, no_shutdown: bool = False) -> Connecting:
    """What is told before `connect(target, options)`. `protocol`: whose dialog is run first; `no_shutdown`: our end
    is not passed on.
    """
    return Connecting(
        target,
        options.secure_transport,
        options.allow_half_open,
        options.expected_server_hostname,
        protocol,
        options.ignore_unexpected_eof,
        no_shutdown,
    )
