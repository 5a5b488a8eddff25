"""Errors to one line for a person, a hint where there is one, and an exit status: LADDER has a row for each kind.

Every message of the program is made here. It says what was tried and what happened; the hint says what to do. Lower
case, no full stop, no class names; what a peer said is escaped (SEC-R20).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from cfcat.core.address import UNIX, is_ipv6, parse_address
from cfcat.edges.target import is_port, is_service_name, port_of
from cfcat.errors import (
    AddressError,
    BlockedError,
    CaFileError,
    CertificateError,
    ClientCertificateError,
    CommandError,
    ConnectError,
    ConnectTimeout,
    CrossedWiresError,
    DialogError,
    DifferenceError,
    EarlyEndError,
    IdleTimeout,
    InjectionError,
    ListenError,
    LostError,
    OptionsError,
    ProxyError,
    ResolveError,
    ScriptTimeout,
    SocketError,
    StdinError,
    StdoutError,
    TlsError,
    TranscriptError,
    TruncatedError,
    UnansweredError,
    UnmatchedError,
    UnmatchedTimeout,
    UsageError,
    out_of_files,
)
from cfcat.report.hints import (
    ACCEPT_HINT,
    CERTIFICATE_HINTS,
    CLEAR_CLIENT,
    DISTRUSTED,
    FILES_HINT,
    FOLDER_HINT,
    INSECURE_HINT,
    LONGER_HINT,
    ONE_PORT,
    OTHER_AUTHORITY,
    OTHER_CLIENTS,
    OTHER_NAME,
    OTHER_VERSION,
    PROXY_AUTHORITY,
    PROXY_HINTS,
    REPLACED,
    SHUTDOWN_HINT,
    SILENT_HINTS,
    SPEAKS,
    TLS_HINTS,
    TRUST_US,
    VERSIONS_DIFFER,
    WAIT_HINT,
)
from cfcat.report.render import escape, quote
from cfcat.report.status import ExitStatus

__all__ = [
    "Message",
    "explain",
    "explain_address",
    "status_of",
]


PASSWORD = re.compile(r"^((?:[A-Za-z+.-]+://)?[^/@:]*:)[^/]+@")  # of a URL, behind its user
PATHS = ("/", "./", "../", "~/")  # how the path of a Unix socket begins


class Message(NamedTuple):
    """`text` after "cfcat: ", `hint` on a line of its own, or ""."""

    text: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"cfcat: {self.text}{hint}\n"


def explain(error: BaseException, target: str) -> Message:
    """What became of a run that was to talk to `target`."""
    message = _row_of(error).words(error, target)
    return message if "xn--" not in target else message._replace(text=_in_both_forms(message.text, target))


def _in_both_forms(text: str, target: str) -> str:
    """A name beyond ASCII, as it is asked for and as it is read."""
    import idna  # lazy: few names need it

    try:
        name = idna.decode(target.rpartition(":")[0])
    except UnicodeError:  # IDNAError
        return text
    return text.replace(target, f"{target} ({escape(name)})", 1)


def status_of(error: BaseException) -> ExitStatus:
    """The exit status for an error; INTERNAL for an unknown error."""
    if isinstance(error, LostError):
        return ExitStatus.SEND if error.sending else ExitStatus.RECEIVE
    return _row_of(error).status


def _unanswered_hint(error: UnansweredError) -> str:
    if error.after_our_end:
        return "--shutdown auto holds our end back until an answer has come"
    request = "a request ends with an empty line"
    return request if error.is_secure else f"--tls on where the server wants TLS; {request}"


def explain_address(text: str, error: AddressError) -> Message:
    """Why a target cannot be parsed, and what was probably meant."""
    masked = PASSWORD.sub(r"\1****@", text)
    shown = f"'{escape(masked)}'"
    scheme, separator, rest = text.partition("://")
    if separator and scheme.isalpha():
        return Message(f"{shown}: expected host:port, not a URL", _url_hint(scheme.lower(), rest))
    if not text:
        return Message("no target given", "cfcat HOST:PORT")
    if text.startswith(UNIX) and not is_port(text.removeprefix(UNIX)):
        hint = _command(f"{UNIX}./{text.removeprefix(UNIX)}") if text.isprintable() else ""
        return Message(f"{shown}: the path of a Unix socket begins with / or ./, its name without a file with @", hint)
    if text.startswith(PATHS):
        return Message(f"{shown}: a path; a Unix socket is unix:PATH", _command(f"{UNIX}{text}"))
    if re.search(r"\s", text):
        return Message(f"{shown}: a blank in the host name")
    if (rest := re.sub(r"/.*", "", text.rpartition("@")[2])) != text:
        more = "a user" if "@" in text else "a path"
        return Message(f"{shown}: expected host:port without {more}", _command(rest) or _command(f"{rest}:443"))
    if text.count(":") > 1 and not text.startswith("["):
        return Message(f"{shown}: more than one colon: an IPv6 address goes in brackets", _ipv6_hint(text))
    host, _, port = text.rpartition(":")
    if "missing port" in error.message:
        if is_port(text):
            return Message(f"{shown}: no host given", f"cfcat localhost:{text}")
        return Message(f"{shown}: no port given", _command(f"{text.rstrip(':')}:443"))
    if text.startswith(":"):
        return Message(f"{shown}: no host given", _command(f"localhost{text}"))
    if host and not host.endswith(("[", ":")) and not is_port(port):
        if is_service_name(port):
            return Message(f"{shown}: no service is called '{port}'", "a port is a number, or a name of /etc/services")
        hint = ONE_PORT if re.fullmatch(r"\d+([-,]\d+)+", port) else ""
        return Message(f"{shown}: the port must be a number from 1 to 65535", hint)
    if len(text) > 255:
        return Message(f"{shown[:60]}…': longer than 255 characters")
    if not text.isascii():
        reason = f": {escape(error.detail)}" if error.detail else ""
        return Message(f"{shown}: not a host name{reason}")
    return Message(f"{shown}: not a host:port", "cfcat example.com:443, cfcat 192.0.2.7:25, cfcat [2001:db8::7]:25")


def _ipv6_hint(text: str) -> str:
    """`::1:25` is an address itself; but if the part before the last colon is an address too, the user meant a port."""
    head, _, port = text.rpartition(":")
    if is_ipv6(head):
        return _command(f"[{head}]:{port}")
    return f"cfcat [{text}]:PORT" if is_ipv6(text) else ""


def _command(address: str, flags: str = "") -> str:
    """A command line to type instead; "" if no better one is known."""
    try:
        works = (parse_address(address).port > 0 or address.startswith(UNIX)) and not address.startswith("-")
    except AddressError:
        works = False
    return f"cfcat {address}{flags}" if works else ""


def _url_hint(scheme: str, rest: str) -> str:
    from cfcat.protocols.table import port_of_scheme  # lazy: few targets are URLs

    authority = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    port, is_tls = port_of_scheme(scheme) or (443, False)
    if not re.search(r":\d+$", authority):
        authority = f"{authority.rstrip(':')}:{port}"
    return _command(authority, " --tls on" if is_tls else "")


def _explain_certificate(error: CertificateError, target: str) -> Message:
    text = f"{_named(error, target)}: {escape(error.detail or error.message)}"
    if error.by_client:
        return Message(text, OTHER_CLIENTS)
    if error.proxy:
        hint = CERTIFICATE_HINTS.get(error.verify_code, REPLACED).replace(OTHER_AUTHORITY, PROXY_AUTHORITY)
        return Message(
            text, hint if OTHER_NAME not in hint else "the URL has to name the proxy as its certificate does"
        )
    return Message(text, f"{CERTIFICATE_HINTS.get(error.verify_code, REPLACED)}; {INSECURE_HINT}")


def _named(error: TlsError, target: str) -> str:
    """Whose TLS it is."""
    return f"proxy {error.proxy}" if error.proxy else target


def _explain_tls(error: TlsError, target: str) -> Message:
    if error.proxy:
        said = f"; it said {quote(error.said)}" if error.said else ""
        text = f"{_named(error, target)}: {escape(error.detail or error.message)}{said}"
        return Message(text, "http:// in the URL, if it takes no TLS" if error.said else "")
    if error.said and error.upgrading:
        peer = "client" if error.by_client else "server"
        return Message(f"{target}: the {peer} went on in clear text in place of TLS; it said {quote(error.said)}")
    if error.said and error.by_client:
        return Message(f"{target}: peer does not speak TLS; it said {quote(error.said)}", CLEAR_CLIENT)
    if error.by_client:
        hint = OTHER_VERSION if error.reason in VERSIONS_DIFFER else ""
        if TLS_HINTS.get(error.reason) in DISTRUSTED:
            hint = TRUST_US
        return Message(f"{target}: {escape(error.detail or error.message)}", hint)
    if error.said:
        from cfcat.protocols.table import guess  # lazy: few errors need the protocols

        protocol = guess(error.said, port_of(target))
        hint = "--tls off talks in clear text" if protocol is None else f"try --starttls {protocol}"
        return Message(f"{target}: peer does not speak TLS; it said {quote(error.said)}", hint)
    hint = TLS_HINTS.get(error.reason, "") or _silent_hint(error, target)
    return Message(f"{target}: {escape(error.detail or error.message)}", hint)


def _explain_dialog(error: DialogError, target: str) -> Message:
    said = f"; it said {quote(error.said)}" if error.said else ""
    hint = "--tls on" if error.speaks_tls else _silent_hint(error, target)
    return Message(f"{target}: {error.message}{said}", hint)


def _explain_proxy(error: ProxyError, target: str) -> Message:
    said = f"; it said {quote(error.said)}" if error.said else ""
    hint = SPEAKS.get(error.said[:1], "") if error.kind == "nonsense" else PROXY_HINTS.get(error.kind, "")
    return Message(f"{escape(error.detail)}{said}", hint)


def _explain_truncated(error: TruncatedError, target: str) -> Message:
    hint = f"{ACCEPT_HINT}; {SHUTDOWN_HINT}" if error.after_our_end else ACCEPT_HINT
    return Message(f"{target}: {error.detail}: output may be truncated", hint)


def _explain_unresolved(error: ResolveError, target: str) -> Message:
    return Message(error.detail, "the resolver could not answer just now; try again" if error.temporary else "")


def _explain_blocked(error: BlockedError, target: str) -> Message:
    hint = f"{escape(error.detail)}; without --workers it is tried all the same"
    return Message(f"{target}: blocked as in a Worker: {error.message}", hint)


def _explain_listening(error: ListenError, target: str) -> Message:
    hint = ""
    if error.errno == errno.EACCES and not target.startswith(UNIX):
        hint = "a port below 1024 needs the right to it: root, or CAP_NET_BIND_SERVICE"
    elif out_of_files(error):
        hint = FILES_HINT
    elif error.errno == errno.EADDRINUSE:
        hint = "-l 0 listens on any free port" if not target.startswith(UNIX) else "somebody listens there already"
    return Message(escape(error.message), hint)


def _silent_hint(error: SocketError, target: str) -> str:
    """What the peer may wait for, in place of what it got; "" where it has said something."""
    if error.silent_in is None:
        return ""
    hint = SILENT_HINTS.get(error.silent_in, "")
    if error.silent_in == "handshake":
        from cfcat.protocols.table import PROTOCOLS  # lazy: few errors need the protocols

        port = port_of(target)
        known = next((row.name for row in PROTOCOLS.values() if port in row.ports), None)
        return hint if known is None else f"try --starttls {known}"
    return hint


def _longer_hint(error: ConnectTimeout, target: str) -> str:
    if error.while_waiting:
        return WAIT_HINT
    return _silent_hint(error, target) or LONGER_HINT


def _explain_difference(error: DifferenceError, target: str) -> Message:
    return Message("\n  ".join((f"{target}: {error.message}", *error.diff.splitlines())))


def _explain_unmatched(error: UnmatchedError, target: str) -> Message:
    return Message(f"{target}: {error.message}", SHUTDOWN_HINT if error.after_our_end else "")


def _explain_lost(error: LostError, target: str) -> Message:
    doing = "sending" if error.sending else "receiving"
    hint = SHUTDOWN_HINT if error.after_our_end else _silent_hint(error, target)
    return Message(f"{target}: {error.detail} while {doing}", hint)


def _explain_early_end(error: EarlyEndError, target: str) -> Message:
    said = f"; it said {quote(error.said)}" if error.said else ""
    return Message(f"{target}: {error.detail}{said}")


def _explain_bug(error: BaseException, target: str) -> Message:
    return Message(
        f"internal error: {type(error).__name__}: {escape(str(error))}",
        "this is a bug in cfcat; CFCAT_DEBUG=1 shows where",
    )


class _Row(NamedTuple):
    """One kind of error: the exit status, and the words for it and its target."""

    kind: type[BaseException]
    status: ExitStatus
    words: Callable[[Any, str], Message]


def _itself(error: UsageError | CommandError | TranscriptError, target: str) -> Message:
    return Message(error.message, error.hint)


def _of_target(error: SocketError, target: str) -> Message:
    return Message(f"{target}: {error.message}")


# The first class that fits decides: a special one comes before the general one that it belongs to.
LADDER: tuple[_Row, ...] = (
    _Row(UsageError, ExitStatus.USAGE, _itself),
    _Row(CommandError, ExitStatus.EXPECT, _itself),
    _Row(
        CaFileError,
        ExitStatus.CA_FILE,
        lambda error, target: Message(
            f"cannot use the file of authorities {escape(error.message)}", FOLDER_HINT if error.is_folder else ""
        ),
    ),
    _Row(
        ClientCertificateError,
        ExitStatus.CLIENT_CERTIFICATE,
        lambda error, target: Message(f"cannot use the certificate: {escape(error.message)}"),
    ),
    _Row(AddressError, ExitStatus.USAGE, lambda error, target: explain_address(target, error)),
    _Row(OptionsError, ExitStatus.USAGE, lambda error, target: Message(str(error))),
    _Row(ResolveError, ExitStatus.RESOLVE, _explain_unresolved),
    _Row(
        ConnectTimeout,
        ExitStatus.TIMEOUT,
        lambda error, target: Message(error.detail, _longer_hint(error, target)),
    ),
    _Row(ListenError, ExitStatus.CONNECT, _explain_listening),
    _Row(BlockedError, ExitStatus.CONNECT, _explain_blocked),
    _Row(ProxyError, ExitStatus.PROXY, _explain_proxy),
    _Row(ConnectError, ExitStatus.CONNECT, lambda error, target: Message(error.detail)),
    _Row(IdleTimeout, ExitStatus.TIMEOUT, _of_target),
    _Row(ScriptTimeout, ExitStatus.TIMEOUT, _of_target),
    _Row(CertificateError, ExitStatus.CERTIFICATE, _explain_certificate),
    _Row(TruncatedError, ExitStatus.TRUNCATED, _explain_truncated),
    _Row(InjectionError, ExitStatus.INJECTION, _of_target),
    _Row(CrossedWiresError, ExitStatus.TLS, lambda error, target: Message(f"{target}: {error.message}", "--tls on")),
    _Row(TlsError, ExitStatus.TLS, _explain_tls),
    _Row(DialogError, ExitStatus.STARTTLS, _explain_dialog),
    _Row(EarlyEndError, ExitStatus.RECEIVE, _explain_early_end),
    _Row(LostError, ExitStatus.RECEIVE, _explain_lost),
    _Row(
        UnansweredError,
        ExitStatus.UNANSWERED,
        lambda error, target: Message(f"{target}: {error.message}", _unanswered_hint(error)),
    ),
    _Row(
        UnmatchedTimeout, ExitStatus.TIMEOUT, lambda error, target: Message(f"{target}: {error.message}", LONGER_HINT)
    ),
    _Row(UnmatchedError, ExitStatus.EXPECT, _explain_unmatched),
    _Row(DifferenceError, ExitStatus.EXPECT, _explain_difference),
    _Row(TranscriptError, ExitStatus.USAGE, _itself),
    _Row(StdoutError, ExitStatus.STDOUT, lambda error, target: Message(str(error))),
    _Row(StdinError, ExitStatus.STDIN, lambda error, target: Message(str(error))),
    _Row(MemoryError, ExitStatus.INTERNAL, lambda error, target: Message(f"{target}: out of memory")),
)
OUT_OF_FILES = _Row(
    OSError,
    ExitStatus.CONNECT,
    lambda error, target: Message(f"{target}: too many open files", FILES_HINT),
)
OTHER = _Row(SocketError, ExitStatus.INTERNAL, lambda error, target: Message(str(error)))
BUG = _Row(BaseException, ExitStatus.INTERNAL, _explain_bug)


def _row_of(error: BaseException) -> _Row:
    for row in LADDER:
        if isinstance(error, row.kind):
            return row
    if out_of_files(error):
        return OUT_OF_FILES
    return OTHER if isinstance(error, SocketError) else BUG
