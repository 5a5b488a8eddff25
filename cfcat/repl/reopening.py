"""The options of `:open`: which of them a session that listens takes, and what they make of a connection's TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cfcat.core.options import SocketOptions
from cfcat.errors import CommandError
from cfcat.repl.arguments import Reopening
from cfcat.report.notes import INSECURE_NOTE, keys_note

if TYPE_CHECKING:
    import ssl

__all__ = ["check_listening", "with_tls"]


def check_listening(wanted: Reopening, options: SocketOptions) -> None:
    """Raise CommandError for what a session that listens cannot do."""
    if wanted.target:
        raise CommandError("this session listens: :open takes no address", ":open waits for the next client")
    if wanted.cacert or wanted.sni or wanted.insecure:
        raise CommandError("this session listens: --cacert, --sni and -k are for dialing")
    if options.secure_transport != "off" and options.tls is None:
        raise CommandError("this session listens without a certificate", "the next one with -l --tls on")


def with_tls(options: SocketOptions, wanted: Reopening, note: Callable[[str], object]) -> SocketOptions:
    """The options of a connection, with what is wanted of its TLS; `note` gets warnings.

    Raises:
        CaFileError: the file of authorities cannot be used.
    """
    if options.secure_transport == "off":
        return options
    if wanted.sni is not None:
        options = options._replace(expected_server_hostname=wanted.sni)
    if wanted.ignore_unexpected_eof:
        options = options._replace(ignore_unexpected_eof=True)
    if options.tls is None or wanted.cacert is not None or wanted.insecure:
        options = options._replace(tls=_make_context(wanted, note))
    return options


def _make_context(wanted: Reopening, note: Callable[[str], object]) -> ssl.SSLContext:
    """Another one than that of the command line, which had none, or trusted others."""
    from cfcat.core.context import log_keys, make_tls_context  # lazy: ssl

    if wanted.insecure:
        note(INSECURE_NOTE)
    context = make_tls_context(cacert=wanted.cacert, insecure=wanted.insecure)
    if problem := log_keys(context):
        note(keys_note(problem))
    return context
