"""The TLS context of a connection: what is trusted, which versions and suites are spoken.

It reads the files of certificates that it is told of. Source: rules V15, T1.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from cfcat.core.choices import TlsVersion
from cfcat.errors import CaFileError, ClientCertificateError, OptionsError, expect_list, reason_of

__all__ = [
    "DEFAULT_CIPHERS",
    "VERSIONS",
    "default_context",
    "limit_context",
    "limited",
    "load_certificate",
    "load_file",
    "log_keys",
    "make_tls_context",
]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# The keychain of macOS and the store of Windows are not OpenSSL's.
PLATFORM_STORE = sys.platform in ("darwin", "win32")

HASH_DIGITS = 8  # of a subject, as openssl-rehash(1) names a certificate: 5ed36f99.0
PEM_BEGIN, PEM_END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"

DEFAULT_CIPHERS = "DEFAULT"  # OpenSSL's own list (ciphers(1))

_contexts: list[ssl.SSLContext] = []
_limiting = threading.Lock()


def default_context() -> ssl.SSLContext:
    """The verifying default, made once: reading the platform's authorities takes some 30 ms."""
    if not _contexts:
        _contexts.append(make_tls_context())
        log_keys(_contexts[0])
    return _contexts[0]


@contextlib.contextmanager
def limited(context: ssl.SSLContext, max_tls: str | None) -> Iterator[None]:
    """Limit the TLS version of connections that are created inside this block.

    OpenSSL copies the limit into each connection when that is made, and Python can set it on the context only. So the
    context, which other sockets may share, is as it was before anything waits.
    """
    with _limiting:
        before = context.maximum_version
        try:
            if max_tls is not None:
                context.maximum_version = VERSIONS[max_tls]
            yield
        finally:
            if max_tls is not None:
                context.maximum_version = before


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
    limit_context(context, alpn=alpn, tls_min=tls_min, tls_max=tls_max, ciphers=ciphers)
    # The default accepts a certificate that names its host in the subject only; no browser has for years.
    context.hostname_checks_common_name = False
    # Python 3.13 sets both and 3.11 neither, and the same command must do the same on each. Strict would refuse most
    # private authorities that `openssl req` makes, which every other tool takes, and users would then turn verification
    # off with -k.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif cacert is not None:
        load_file(context, os.fspath(cacert), os.fspath(cacert))
    elif file or folders:
        # OpenSSL silently skips unreadable files and then trusts no authority. Raise here, or the user would see only
        # "unknown issuer". And where only one variable is set, it would go on trusting what the system has in the other
        # place.
        if file and not (folders and _has_all(folders, file)):
            load_file(context, file, f"SSL_CERT_FILE={file}")
        if folders:
            _load_folders(context, folders)
    elif not platform_store:
        _load_system(context)
    if cert is not None:
        load_certificate(context, os.fspath(cert), None if key is None else os.fspath(key), password)
        context.post_handshake_auth = True
    return context


def limit_context(
    context: ssl.SSLContext,
    *,
    alpn: Sequence[str],
    tls_min: TlsVersion,
    tls_max: TlsVersion | None,
    ciphers: str,
) -> None:
    """What a client's and a server's context have in common: versions, suites, ALPN, no renegotiation, no truncation.

    Raises:
        OptionsError: as `make_tls_context()`.
    """
    context.minimum_version = VERSIONS[tls_min]
    if tls_max is not None:
        if VERSIONS[tls_max] < VERSIONS[tls_min]:
            raise OptionsError(f"no TLS version is at least {tls_min} and at most {tls_max}")
        context.maximum_version = VERSIONS[tls_max]
    # Builds of Python have lists of their own, of 17 suites or of 60; this is OpenSSL's, under the system's policy.
    _set_ciphers(context, ciphers)
    # TLS 1.2 renegotiation has no use here, and OpenSSL would obey a HelloRequest.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # openssl.cnf can set this, and truncation would look like EOF (T7).
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", ssl.Options(0))
    if alpn:
        _set_alpn(context, alpn)


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
    expect_list("alpn", alpn)
    if not all(name.isascii() and 0 < len(name) < 256 for name in alpn):
        raise OptionsError("an ALPN protocol ID is 1 to 255 ASCII characters")
    context.set_alpn_protocols(list(alpn))


def load_certificate(context: ssl.SSLContext, cert: str, key: str | None, password: Callable[[], str] | None) -> None:
    """Load our own certificate, with its key from the same file or another.

    Raises:
        ClientCertificateError: it cannot be used.
    """
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


def _load_folders(context: ssl.SSLContext, folders: str) -> None:
    """Trust the hashed files in folders (openssl-rehash(1)), several of them with a colon between, as a path."""
    if not any(os.path.isdir(folder) for folder in folders.split(os.pathsep)):
        raise CaFileError(f"SSL_CERT_DIR={folders}: no such folder")
    context.load_verify_locations(capath=folders)


def _load_system(context: ssl.SSLContext) -> None:
    """Trust the system's authorities: by its folder alone where that has them all.

    Of a folder OpenSSL reads the one that a server needs. A file of 140 takes longer than all else that TLS needs.
    """
    paths = ssl.get_default_verify_paths()
    if paths.capath and (paths.cafile is None or _has_all(paths.capath, paths.cafile)):
        context.load_verify_locations(capath=paths.capath)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)


def _has_all(folder: str, file: str) -> bool:
    """Is each certificate of a file in a folder, too, where OpenSSL finds it by its name?"""
    found: set[bytes] = set()
    try:
        with open(file, "rb") as bundle:
            wanted = _pem_blocks(bundle.read())
        for name in os.listdir(folder):
            stem, dot, number = name.partition(".")
            if len(stem) == HASH_DIGITS and dot and number.isdecimal():
                with open(os.path.join(folder, name), "rb") as one:
                    found |= _pem_blocks(one.read())
    except OSError:
        return False
    return bool(wanted) and wanted <= found


def _pem_blocks(text: bytes) -> set[bytes]:
    return {block.partition(PEM_END)[0] for block in text.replace(b"\r", b"").split(PEM_BEGIN)[1:]}


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise OptionsError(f"no cipher suite of TLS 1.2 matches {ciphers!r}") from error


def load_file(context: ssl.SSLContext, path: str, name: str) -> None:
    """Trust the authorities of a PEM file. `name`: what messages call it.

    Raises:
        CaFileError: it cannot be used.
    """
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise CaFileError(f"{name}: no certificates in PEM form in it") from error
    except (OSError, ValueError) as error:
        raise CaFileError(f"{name}: {reason_of(error)}", is_folder=os.path.isdir(path)) from error
