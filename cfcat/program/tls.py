"""The TLS context that the options ask for, and what a client's and a server's have in common: password, key log.

Loaded by a run with TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cfcat.core.context import log_keys, make_tls_context
from cfcat.errors import ClientCertificateError
from cfcat.program.request import TlsRequest

# Loaded although most runs have nothing to say: without memory a run that fails could not load it (row 51).
from cfcat.report.notes import INSECURE_NOTE, keys_note

if TYPE_CHECKING:
    import ssl

__all__ = ["client_context", "log_keys_or_say", "password_of"]

Note = Callable[[str], object]


def client_context(tls: TlsRequest, note: Note) -> ssl.SSLContext:
    """The context of a run that dials. Raises as `make_tls_context()`."""
    if tls.insecure:
        note(INSECURE_NOTE)
    context = make_tls_context(
        cacert=tls.cacert,
        insecure=tls.insecure,
        cert=tls.cert,
        key=tls.key,
        password=password_of(tls),
        alpn=tls.alpn,
        tls_min=tls.tls_min,
        tls_max=tls.tls_max,
        ciphers=tls.ciphers,
    )
    log_keys_or_say(context, note)
    return context


def password_of(tls: TlsRequest) -> Callable[[], str]:
    """What asks for the password of an encrypted key."""

    def ask() -> str:
        from cfcat.edges.password import ask_password  # lazy: an encrypted key only

        none = ClientCertificateError("the key is encrypted, and there is no terminal to ask for its password")
        return ask_password(f"cfcat: password of {tls.key or tls.cert}: ", none)

    return ask


def log_keys_or_say(context: ssl.SSLContext, note: Note) -> None:
    """Honour SSLKEYLOGFILE; where that file cannot be written, say so."""
    if problem := log_keys(context):
        note(keys_note(problem))
