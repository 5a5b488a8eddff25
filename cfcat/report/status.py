"""Errors to exit statuses: curl's numbers where curl has one."""

from __future__ import annotations

from enum import IntEnum

from cfcat.errors import (
    AddressError,
    CaFileError,
    CertificateError,
    ClientCertificateError,
    CommandError,
    ConnectError,
    ConnectTimeout,
    DialogError,
    IdleTimeout,
    InjectionError,
    LostError,
    OptionsError,
    ResolveError,
    StdinError,
    StdoutError,
    TlsError,
    TruncatedError,
    UnansweredError,
    UsageError,
    out_of_files,
)

__all__ = ["ExitStatus", "status_of"]


class ExitStatus(IntEnum):
    """How a run ended. Death by a signal is 128 + its number, and really is by the signal."""

    OK = 0
    EXPECT = 1  # a command of a script failed: most often :expect
    USAGE = 2
    RESOLVE = 6
    CONNECT = 7
    INJECTION = 8
    TRUNCATED = 18
    STDOUT = 23
    STDIN = 26
    TIMEOUT = 28
    TLS = 35
    UNANSWERED = 52
    SEND = 55
    RECEIVE = 56
    CLIENT_CERTIFICATE = 58
    CERTIFICATE = 60
    STARTTLS = 64
    CA_FILE = 77
    INTERNAL = 70


# The first class that fits decides: special ones come before the general.
STATUS: tuple[tuple[type[BaseException], ExitStatus], ...] = (
    (UsageError, ExitStatus.USAGE),
    (CommandError, ExitStatus.EXPECT),
    (CaFileError, ExitStatus.CA_FILE),
    (ClientCertificateError, ExitStatus.CLIENT_CERTIFICATE),
    (AddressError, ExitStatus.USAGE),
    (OptionsError, ExitStatus.USAGE),
    (ResolveError, ExitStatus.RESOLVE),
    (ConnectTimeout, ExitStatus.TIMEOUT),
    (IdleTimeout, ExitStatus.TIMEOUT),
    (ConnectError, ExitStatus.CONNECT),
    (CertificateError, ExitStatus.CERTIFICATE),
    (TruncatedError, ExitStatus.TRUNCATED),
    (InjectionError, ExitStatus.INJECTION),
    (TlsError, ExitStatus.TLS),
    (DialogError, ExitStatus.STARTTLS),
    (UnansweredError, ExitStatus.UNANSWERED),
    (StdoutError, ExitStatus.STDOUT),
    (StdinError, ExitStatus.STDIN),
)


def status_of(error: BaseException) -> ExitStatus:
    """The exit status for an error; INTERNAL for one that nothing here expects."""
    if isinstance(error, LostError):
        return ExitStatus.SEND if error.sending else ExitStatus.RECEIVE
    for kind, status in STATUS:
        if isinstance(error, kind):
            return status
    return ExitStatus.CONNECT if out_of_files(error) else ExitStatus.INTERNAL
