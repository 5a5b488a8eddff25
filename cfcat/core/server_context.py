"""The TLS context of a server: its certificate, or one made for this run, and which clients it lets in.

Source: V21; the defaults are those of `context`.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator, Sequence

from cfcat.core.choices import TlsVersion
from cfcat.core.context import DEFAULT_CIPHERS, limit_context, load_certificate, load_file
from cfcat.errors import OptionsError, expect_list

__all__ = ["Authority", "bare_server_context", "make_server_context"]

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
LIFE_DAYS = 7
ORGANIZATION = "cfcat, made for one run"


def make_server_context(
    *,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    password: Callable[[], str] | None = None,
    names: Sequence[str] = (),
    ca_out: str | os.PathLike[str] | None = None,
    client_ca: str | os.PathLike[str] | None = None,
    alpn: Sequence[str] = (),
    tls_min: TlsVersion = "1.2",
    tls_max: TlsVersion | None = None,
    ciphers: str = DEFAULT_CIPHERS,
) -> ssl.SSLContext:
    """The context for `listen(tls=…)`.

    `cert` and `key`: PEM files of the certificate with its chain, and of its key where that is not in the same file;
    `password` is asked for that of an encrypted key. Without `cert` an authority and a certificate are made for this
    process: for localhost, 127.0.0.1, ::1 and `names` (host names or IP addresses), for seven days; the authority's
    certificate is written to the file `ca_out`, for clients to trust, and no key is ever written.
    `client_ca`: a PEM file of authorities; clients must have a certificate of theirs. `alpn`: protocols to select from,
    the best first; a client that has none of them goes on without. `tls_min`, `tls_max`, `ciphers`: as
    `make_tls_context()`.

    Raises:
        ClientCertificateError: `cert` or `key` cannot be used.
        CaFileError: `client_ca` cannot be used.
        OptionsError: a `key` without `cert`, a name that no certificate can have, or as `make_tls_context()`.
        OSError: `ca_out` cannot be written.
    """
    expect_list("names", names)
    context = bare_server_context(alpn=alpn, tls_min=tls_min, tls_max=tls_max, ciphers=ciphers)
    if cert is not None:
        load_certificate(context, os.fspath(cert), None if key is None else os.fspath(key), password)
    elif key is not None:
        raise OptionsError(f"{os.fspath(key)}: a key needs its certificate")
    else:
        authority = Authority()
        authority.certify(context, names)
        if ca_out is not None:
            with open(ca_out, "wb") as file:
                file.write(authority.pem)
    if client_ca is not None:
        load_file(context, os.fspath(client_ca), os.fspath(client_ca))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def bare_server_context(
    *,
    alpn: Sequence[str] = (),
    tls_min: TlsVersion = "1.2",
    tls_max: TlsVersion | None = None,
    ciphers: str = DEFAULT_CIPHERS,
) -> ssl.SSLContext:
    """A server's context without a certificate. Raises OptionsError: as `make_tls_context()`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    limit_context(context, alpn=alpn, tls_min=tls_min, tls_max=tls_max, ciphers=ciphers)
    # No session is resumed here, and a client that ends without reading would meet its unread tickets with a reset.
    context.num_tickets = 0
    return context


class Authority:
    """A certification authority for one run. Its key, and those of its certificates, never leave this process."""

    def __init__(self) -> None:
        import trustme  # lazy: it loads cryptography

        self._ca = trustme.CA(organization_name=ORGANIZATION)

    @property
    def pem(self) -> bytes:
        """Its certificate, for clients to trust."""
        return bytes(self._ca.cert_pem.bytes())

    def certify(self, context: ssl.SSLContext, names: Sequence[str]) -> None:
        """Give a context a certificate for localhost and these names, for seven days.

        Raises:
            OptionsError: a name that no certificate can have.
        """
        import datetime  # lazy: only a certificate that is made has dates

        not_after = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=LIFE_DAYS)
        try:
            made = self._ca.issue_cert(*dict.fromkeys((*LOCAL_NAMES, *names)), not_after=not_after)
        except (ValueError, UnicodeError) as error:
            raise OptionsError(f"not usable in a certificate: {', '.join(names)}") from error
        with _in_memory(made.private_key_and_cert_chain_pem.bytes()) as (path, secret):
            context.load_cert_chain(path, password=secret)


@contextlib.contextmanager
def _in_memory(pem: bytes) -> Iterator[tuple[str, str | None]]:
    """A path under which OpenSSL can read this once, and the password of the key in it, if it has one.

    OpenSSL reads files only. Linux has files in memory; elsewhere the key is encrypted, with a password that only this
    process knows, before it goes into a file that is removed at once.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("cfcat", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            yield f"/proc/self/fd/{descriptor}", None
        finally:
            os.close(descriptor)
    else:
        with _encrypted(pem) as found:
            yield found


@contextlib.contextmanager
def _encrypted(pem: bytes) -> Iterator[tuple[str, str]]:
    import secrets  # lazy: as all here, for systems without files in memory
    import tempfile

    from cryptography.hazmat.primitives import serialization

    secret = secrets.token_urlsafe(32)
    end = b"-----END EC PRIVATE KEY-----\n"
    key_pem, _, chain = pem.partition(end)
    key = serialization.load_pem_private_key(key_pem + end, None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(secret.encode()),
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(encrypted + chain)
        file.flush()
        yield file.name, secret
