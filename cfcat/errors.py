"""Everything that cfcat raises.

`message` is the reference runtime's text, to the letter (RULES.md; each class names the rule); `str()` adds the
detail that a person needs; `__cause__` is the operating system's or OpenSSL's own exception. There is a separate class
only where a caller would act differently. Most also inherit the builtin that matches, so that `except TimeoutError`
works.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

__all__ = [
    "AbortError",
    "AddressError",
    "Attempt",
    "BlockedError",
    "CaFileError",
    "CancelError",
    "CertificateError",
    "ClientCertificateError",
    "ClosedError",
    "CommandError",
    "ConnectError",
    "ConnectTimeout",
    "CrossedWiresError",
    "DialogError",
    "DifferenceError",
    "EarlyEndError",
    "IdleTimeout",
    "IncompleteReadError",
    "InjectionError",
    "LimitError",
    "ListenError",
    "LockError",
    "LostError",
    "OptionsError",
    "ProxyError",
    "ResolveError",
    "ScriptTimeout",
    "SocketError",
    "StdinError",
    "StdoutError",
    "TlsError",
    "TranscriptError",
    "TruncatedError",
    "UnansweredError",
    "UnmatchedError",
    "UnmatchedTimeout",
    "UpgradeError",
    "UsageError",
    "WrongTypeError",
    "out_of_files",
    "reason_of",
    "shortened",
    "without_frames",
]

# EMFILE: the process has no descriptor left; ENFILE: the system has none.
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
MOST_PARTS = 8  # of a list in a message
CONNECT_FAILED = "proxy request failed, cannot connect to the specified address"
LOST = "Network connection lost."
# A handshake from the first byte, one after clear text, one in the tap because the client has begun TLS with its first
# byte; the dialog of STARTTLS; clear text. Whoever says nothing there may expect another of them.
SilentIn = Literal["handshake", "upgrade", "tapped handshake", "dialog", "clear text"]


class SocketError(OSError):
    """Base of all errors of a connection. They can be copied and pickled, but for their causes.

    `message`: the reference text. `detail`: what happened here, or "". `was_raised`: somebody has met it. `client`:
    whose connection it is about, `ip:port`, where that one was accepted by a run that listens. `may_pass`: another
    attempt may succeed while nothing is changed here: the server may be about to start. `silent_in`: the peer had not
    said a byte when it failed, and this was going on.
    """

    silent_in: SilentIn | None = None
    was_raised = False
    may_pass = False
    client = ""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)  # with two arguments OSError takes the first for a number
        self.message = message
        self.detail = detail

    @property
    def errno(self) -> int | None:  # type: ignore[override]  # the number is that of the cause, which is set later
        """The operating system's number, or None where this is not its error."""
        number = self.__cause__.errno if isinstance(self.__cause__, OSError) else None
        return number if isinstance(number, int) else None

    def __str__(self) -> str:
        return f"{self.message.removesuffix('.')}: {self.detail}" if self.detail else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args), self.__dict__


class WrongTypeError(SocketError, TypeError):
    """An argument has the wrong type. The runtime would convert it and report its own text; we use that text (V15)."""


class AddressError(SocketError, ValueError):
    """The address cannot be parsed (rules A2-A8). Raised by `connect()` itself."""


class OptionsError(SocketError, ValueError):
    """An option has an impossible value, or options exclude each other (O2, O4). Raised by `connect()` itself."""


class CaFileError(OptionsError):
    """The file or folder of certification authorities cannot be used. `is_folder`: a file was asked for, and is one."""

    def __init__(self, message: str, *, is_folder: bool = False) -> None:
        super().__init__(message)
        self.is_folder = is_folder


class ClientCertificateError(OptionsError):
    """The client certificate or its key cannot be used."""


class Attempt(NamedTuple):
    """One address tried: `address` is `ip:port`, `error` what became of it, `seconds` how long that took."""

    address: str
    error: OSError
    seconds: float


class ConnectError(SocketError, ConnectionError):
    """No connection came about: route, refusal or policy (N4, N5). Rejects `opened` and `closed`.

    `attempts`: every address that was tried, in order.
    """

    may_pass = True

    def __init__(self, message: str, detail: str = "", attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(message, detail)
        self.attempts = tuple(attempts)


class BlockedError(ConnectError):
    """A policy does not allow the connection (P1-P4): it was not tried, or ended at once. `rule`: which, "P2".

    `detail` names the rule and each address.
    """

    def __init__(self, message: str, detail: str = "", *, rule: str = "") -> None:
        super().__init__(message, detail)
        self.rule = rule


class ResolveError(ConnectError):
    """The name has no address. `temporary`: the resolver could not say, and may later."""

    def __init__(self, message: str, detail: str = "", *, temporary: bool = False) -> None:
        super().__init__(message, detail)
        self.temporary = temporary


class ProxyError(ConnectError):
    """The proxy was reached, and did not connect us: it refused, could not reach the target, ended, or made no sense.

    `detail` names it and says why. `said`: its answer, where that is words; to be escaped before it is shown. `kind`:
    "target" (it could not reach that), "credentials" (it wants others, or any), "nonsense" (it speaks something else),
    "ended" (it closed without an answer) or "other". Where the proxy itself was not reached, it is a ConnectError.
    """

    def __init__(
        self,
        message: str,
        detail: str = "",
        attempts: Sequence[Attempt] = (),
        *,
        said: bytes = b"",
        kind: str = "other",
    ) -> None:
        super().__init__(message, detail, attempts)
        self.said = said
        self.kind = kind


class ConnectTimeout(ConnectError, TimeoutError):
    """`connect_timeout` ran out before the connection, or its TLS handshake, was complete.

    `while_waiting`: the deadline was that of all attempts together, of which the first had not ended.
    """

    def __init__(
        self,
        message: str,
        detail: str = "",
        attempts: Sequence[Attempt] = (),
        *,
        while_waiting: bool = False,
    ) -> None:
        super().__init__(message, detail, attempts)
        self.while_waiting = while_waiting


class TlsError(SocketError):
    """The TLS handshake failed, or what came is no TLS (N4, S10, T8).

    `reason`: OpenSSL's name for it, such as `WRONG_VERSION_NUMBER`. `said`: the first bytes that the peer sent
    in place of TLS, at most 40; text of the peer, to be escaped before it is shown. `upgrading`: it happened in the
    handshake of `start_tls()`. `by_client`: we were the server in it. `proxy`: the address of the proxy whose TLS it
    is, "" where it is the peer's.
    """

    may_pass = True

    def __init__(self, message: str, detail: str = "", *, reason: str = "", said: bytes = b"") -> None:
        super().__init__(message, detail)
        self.reason = reason
        self.said = said
        self.upgrading = False
        self.by_client = False
        self.proxy = ""


class CertificateError(TlsError):
    """The peer's certificate is not trusted, or is for another name (T1). `verify_code`: X509_V_ERR_…

    `chain`: that certificate, then those of its issuers that were found, each a `PeerCertificate`; nobody vouches for
    what they say, and it must be escaped before it is shown. Empty where the peer has shown none.
    """

    def __init__(self, message: str, detail: str = "", *, verify_code: int = 0, chain: Sequence[Any] = ()) -> None:
        super().__init__(message, detail, reason="CERTIFICATE_VERIFY_FAILED")
        self.verify_code = verify_code
        self.chain = tuple(chain)


class CrossedWiresError(TlsError):
    """A clear-text connection was answered with a TLS alert: the peer expects TLS."""


class TruncatedError(TlsError):
    """TCP ended without close_notify (T7, V9): what was read is genuine, and may not be all.

    `after_our_end`: our own end had been sent before, and may be why.
    """

    may_pass = False
    after_our_end = False


class UpgradeError(TlsError):
    """`start_tls()` cannot be called here (S1). Raised by `start_tls()` itself."""

    may_pass = False


class InjectionError(UpgradeError):
    """Clear text was waiting unread at the moment of the upgrade (V13, SEC-R1). `count`: how many bytes of it."""

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class LockError(SocketError):
    """The stream is locked, or a reader has a read waiting (API-R4, API-R5, W5)."""


class ClosedError(SocketError):
    """The caller used the object after it was closed, ended, upgraded or released (C5-C11, W7, API-R5, W5)."""


class AbortError(SocketError):
    """The writing side was aborted (W8). `reason`: what `abort()` was given."""

    def __init__(self, reason: object) -> None:
        super().__init__("the writing side was aborted", "" if reason is None else str(reason))
        self.reason = reason


class IncompleteReadError(SocketError, EOFError):
    """The peer ended before all was there that `read_exactly()` or `read_until()` waits for.

    `partial`: the bytes that came; they are taken from the stream.
    """

    def __init__(self, message: str, partial: bytes) -> None:
        super().__init__(message)
        self.partial = partial


class LimitError(SocketError, ValueError):
    """`read_until()` found no separator within its limit. Nothing was taken from the stream."""


class CancelError(SocketError):
    """A read was waiting when `cancel(reason)` was called (API-R7). `message` is the reason."""


class LostError(SocketError, ConnectionError):
    """The connection broke: reset, or given up by the network (API-R9, W10). `sending`: a send noticed it.

    `after_our_end`: our own end had been sent before, and may be why.
    """

    may_pass = True
    after_our_end = False

    def __init__(self, message: str = LOST, detail: str = "", *, sending: bool = False) -> None:
        super().__init__(message, detail)
        self.sending = sending


class EarlyEndError(LostError):
    """The peer ended, or reset, in the first moment of the connection: nothing is behind a proxy that accepts, or the
    peer has no use for us now. `said`: how what it said before that begins, to be escaped before it is shown.
    """

    said = b""


class DialogError(SocketError):
    """The dialog of a STARTTLS protocol did not come to its go-ahead: refused, nonsense, an end, a limit (SEC-R2,
    SEC-R7).

    `message` says which, without a word of the peer's. `said`: the answer that was not the go-ahead, to be escaped
    before it is shown; b"" if there is no answer or it must not be shown (Postgres, CVE-2024-10977). `speaks_tls`: it
    began with a TLS record, so the port needs no dialog.
    """

    may_pass = True

    def __init__(self, message: str, *, said: bytes = b"", speaks_tls: bool = False) -> None:
        super().__init__(message)
        self.said = said
        self.speaks_tls = speaks_tls


class ListenError(SocketError):
    """Nobody can be accepted: the address is in use, not this machine's, not allowed; or descriptors are used up.

    `message` names the address and the operating system's reason.
    """

    @property
    def is_missing(self) -> bool:
        """Has this machine no such address, or not even the family?"""
        return self.errno in NO_SUCH_ADDRESS


class IdleTimeout(SocketError, TimeoutError):
    """Nothing moved in either direction for as long as `--idle-timeout` allows."""


class ScriptTimeout(SocketError, TimeoutError):
    """A script has not come to its end in the time of `:timeout`."""


class UnansweredError(SocketError):
    """The peer ended in order, without one byte in answer to an HTTP/1 request.

    `after_our_end`: our own end had been sent before. `is_secure`: it happened under TLS.
    """

    def __init__(self, message: str, detail: str = "", *, after_our_end: bool = False, is_secure: bool = False) -> None:
        super().__init__(message, detail)
        self.after_our_end = after_our_end
        self.is_secure = is_secure


class UnmatchedError(SocketError):
    """What came did not match `--after` or `--until` before the peer's end. `message` has all that is said of it.

    `after_our_end`: our own end had been sent before, and may be why.
    """

    after_our_end = False


class UnmatchedTimeout(UnmatchedError, TimeoutError):
    """What came did not match `--after` in time."""


class TranscriptError(SocketError):
    """A transcript cannot be read, or not be replayed. `message` names the file and the line; `hint`: what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DifferenceError(SocketError):
    """In a replay the peer did something else than in the transcript.

    `message` says where; `diff` has what was recorded and what happened, in the lines of a transcript.
    """

    def __init__(self, message: str, diff: str = "") -> None:
        super().__init__(message, f"\n{diff}" if diff else "")
        self.diff = diff


class StdinError(SocketError):
    """Reading standard input failed."""


class StdoutError(SocketError):
    """Writing standard output failed; not for a reader that went away, which is no error but SIGPIPE."""


class UsageError(SocketError):
    """The command line makes no sense. `message`: what is wrong; `hint`: what to type instead, or ""."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CommandError(SocketError):
    """A `:` command of the session makes no sense, or failed. `message`, `hint`: as in `UsageError`.

    In a script it is the end (status 1).
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _made_again(kind: type[SocketError], arguments: tuple[object, ...]) -> SocketError:
    """An error without its `__init__`, whose parameters differ from class to class; what it had follows."""
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    return error


def expect_list(name: str, texts: Sequence[str | bytes]) -> None:
    """Raise TypeError for a text in place of a list of texts: to Python it would be a list of letters."""
    if isinstance(texts, str | bytes):
        raise TypeError(f"{name} must be a list, not {type(texts).__name__}: [{texts!r}]")


def shortened(parts: Sequence[str]) -> str:
    """A list for a message. It may come from the network: of a long one the beginning, and how many more there are."""
    more = len(parts) - MOST_PARTS
    return ", ".join(parts) if more <= 0 else f"{', '.join(parts[:MOST_PARTS])} and {more} more"


def without_frames(error: BaseException) -> None:
    """Drop the traceback of an error that somebody keeps: its frames refer to the keeper, and that makes a circle.

    Where a connection's error was first raised tells nobody anything. The traceback of its cause stays, unless the
    cause is a deadline's TimeoutError, which passed through the same frames.
    """
    for each in (error, error.__cause__):
        if each is error or isinstance(each, TimeoutError):
            each.__traceback__ = None


def out_of_files(error: BaseException) -> bool:
    """Is the error EMFILE or ENFILE? Any step may open a file, so any step may fail this way."""
    return isinstance(error, OSError) and error.errno in OUT_OF_FILES


def reason_of(error: BaseException) -> str:
    """What went wrong, in the system's words where it has any: "no such file or directory"."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
