"""The one list of what can happen on a connection, and whom to tell of it.

Pure. The core, pipe mode and the session tell events; `-v`, `--json`, transcripts and exports are made from them. A
`Kept` event is one that a transcript keeps: its `text()` is what the transcript says, and `parse()` beside it reads
that back, so that nobody else needs to know the words. Times that are read back have the printed precision.

Named tuples, because every run loads them; two kinds with equal fields compare equal: check the class too.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from cfcat.core.certificate import TlsInfo

__all__ = [
    "MARKS",
    "Accepted",
    "Attempted",
    "Broke",
    "Connected",
    "Connecting",
    "Counters",
    "Dialog",
    "Direction",
    "Entered",
    "Event",
    "Expected",
    "Failed",
    "Kept",
    "LineFailed",
    "Listening",
    "Moved",
    "Moving",
    "Note",
    "Opened",
    "OurSideEnded",
    "Outcome",
    "Over",
    "PeerEnded",
    "Phase",
    "Resolved",
    "SpeaksTls",
    "StdinEnded",
    "Stopped",
    "Subscriber",
    "Subscribers",
    "TlsEstablished",
    "TlsUp",
    "Trace",
    "TraceEvent",
    "TranscriptOf",
    "duration",
    "os_reason",
    "parse",
]

Direction = Literal["sent", "received"]
MARKS: dict[Direction, str] = {"sent": ">", "received": "<"}

Outcome = Literal["connected", "failed", "abandoned"]
Phase = Literal["usage", "resolve", "connect", "starttls", "tls", "session", "done"]

DURATION = r"([0-9]+\.[0-9] ms|[0-9]+\.[0-9]{2} s)"
BYTES = r"([0-9]{1,18}) bytes?"


def duration(seconds: float) -> str:
    """`0.4 ms`, `1.25 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _bytes(count: int) -> str:
    return f"{count} byte" if count == 1 else f"{count} bytes"


def _seconds(shown: str) -> float:
    number, unit = shown.split()
    return float(number) / 1000 if unit == "ms" else float(number)


# ---- what a socket tells while it is made: `SocketOptions.trace`


class Resolved(NamedTuple):
    """The name of `target` has these addresses, as `ip:port`, in the order in which they will be tried."""

    addresses: tuple[str, ...]
    seconds: float
    target: str = ""

    def text(self) -> str:
        """`mail.example:25 resolved to 192.0.2.7:25 in 1.2 ms`; "" where the target was an address."""
        if self.addresses == (self.target,):
            return ""
        return f"{self.target} resolved to {', '.join(self.addresses)} in {duration(self.seconds)}"

    @classmethod
    def parse(cls, text: str) -> Resolved | None:
        match = re.fullmatch(rf"(\S+) resolved to (\S+(?:, \S+)*) in {DURATION}", text)
        return match and cls(tuple(match[2].split(", ")), _seconds(match[3]), match[1])


class Attempted(NamedTuple):
    """What became of one address: `error` where it failed; abandoned: another was faster, or the time was up."""

    address: str
    outcome: Outcome
    error: OSError | None
    seconds: float

    @property
    def reason(self) -> str:
        """The operating system's words for `error`; "" where there is none."""
        return "" if self.error is None else os_reason(self.error)

    def text(self) -> str:
        """`192.0.2.7:25: connection refused after 0.2 ms`; "" where it connected: `Connected` says more."""
        if self.outcome == "connected":
            return ""
        return f"{self.address}: {self.reason or 'given up'} after {duration(self.seconds)}"

    @classmethod
    def parse(cls, text: str) -> Attempted | None:
        if (match := re.fullmatch(rf"(\S+): (given up|.+) after {DURATION}", text)) is None:
            return None
        address, reason, shown = match.groups()
        failed = reason != "given up"
        error = OSError(reason) if failed else None
        return cls(address, "failed" if failed else "abandoned", error, _seconds(shown))


class Connected(NamedTuple):
    """TCP is connected: both ends as `ip:port`; `seconds` since `connect()`."""

    remote_address: str
    local_address: str
    seconds: float

    def text(self) -> str:
        return f"connected to {self.remote_address} from {self.local_address} in {duration(self.seconds)}"

    @classmethod
    def parse(cls, text: str) -> Connected | None:
        match = re.fullmatch(rf"connected to (\S+) from (\S+) in {DURATION}", text)
        return match and cls(match[1], match[2], _seconds(match[3]))


class TlsEstablished(NamedTuple):
    """The handshake is done, and the peer verified where that was asked for (SEC-R11: nothing is told before)."""

    info: TlsInfo
    seconds: float

    def text(self) -> str:
        """Same text as `TlsUp`, and it is read back as a `TlsUp`, because a transcript does not keep all of `info`."""
        return TlsUp(self.info.version, self.info.cipher, self.seconds).text()


TraceEvent = Resolved | Attempted | Connected | TlsEstablished
Trace = Callable[[TraceEvent], None]


# ---- what pipe mode and the session tell


class TranscriptOf(NamedTuple):
    """A transcript begins."""

    target: str

    def text(self) -> str:
        return f"transcript of {self.target}"

    @classmethod
    def parse(cls, text: str) -> TranscriptOf | None:
        match = re.fullmatch(r"transcript of (.*)", text, re.DOTALL)
        return match and cls(match[1])


class Connecting(NamedTuple):
    """How a connection is about to be made: `connect()`'s address and options, and what the command line adds to them.

    `server_name`: to be verified in place of the host, or None. `protocol`: the protocol of the STARTTLS dialog that is
    run first, or None. It is made by `cfcat.core.options.connecting`.
    """

    target: str
    secure_transport: str = "off"
    allow_half_open: bool = False
    server_name: str | None = None
    protocol: str | None = None
    ignore_unexpected_eof: bool = False
    no_shutdown: bool = False

    def text(self) -> str:
        """`connecting to mail.example:587 --tls starttls --half-open`, in the words of the command line."""
        words: tuple[tuple[str, str | bool | None], ...] = (
            ("--tls", self.secure_transport),
            ("--half-open", self.allow_half_open),
            ("--sni", self.server_name),
            ("--starttls", self.protocol),
            ("--ignore-unexpected-eof", self.ignore_unexpected_eof),
            ("--no-shutdown", self.no_shutdown),
        )
        given = [option if value is True else f"{option} {value}" for option, value in words if value]
        return " ".join(["connecting to", self.target, *given])

    @classmethod
    def parse(cls, text: str) -> Connecting | None:
        if (match := re.fullmatch(r"connecting to (\S+)(.*)", text)) is None:
            return None
        given = dict(re.findall(r" (--[a-z-]+)(?: (?!--)(\S+))?", match[2]))
        return cls(
            match[1],
            given.get("--tls") or "off",
            "--half-open" in given,
            given.get("--sni") or None,
            given.get("--starttls") or None,
            "--ignore-unexpected-eof" in given,
            "--no-shutdown" in given,
        )


class Failed(NamedTuple):
    """The connection of a session did not come about, or its upgrade did not; `reason`: one line."""

    reason: str

    def text(self) -> str:
        return f"could not connect: {self.reason}"

    @classmethod
    def parse(cls, text: str) -> Failed | None:
        match = re.fullmatch(r"could not connect: (.*)", text, re.DOTALL)
        return match and cls(match[1])


class Opened(NamedTuple):
    """The connection of a session can be used, and is upgraded where that was asked for."""

    remote_address: str

    def text(self) -> str:
        return f"connected to {self.remote_address}"

    @classmethod
    def parse(cls, text: str) -> Opened | None:
        match = re.fullmatch(r"connected to (\S+)", text)
        return match and cls(match[1])


class Listening(NamedTuple):
    """Clients may come, at these addresses: `ip:port`, or `unix:PATH`."""

    addresses: tuple[str, ...]

    def text(self) -> str:
        return f"listening on {', '.join(self.addresses)}"

    @classmethod
    def parse(cls, text: str) -> Listening | None:
        match = re.fullmatch(r"listening on (.+)", text, re.DOTALL)
        return match and cls(tuple(match[1].split(", ")))


class Accepted(NamedTuple):
    """A client has come: `ip:port` of both ends; `remote_address` is "" on a Unix socket."""

    remote_address: str
    local_address: str

    def text(self) -> str:
        return f"accepted {self.remote_address or 'a client'} on {self.local_address}"

    @classmethod
    def parse(cls, text: str) -> Accepted | None:
        match = re.fullmatch(r"accepted (a client|\S+) on (.+)", text, re.DOTALL)
        return match and cls("" if match[1] == "a client" else match[1], match[2])


class SpeaksTls(NamedTuple):
    """A client has begun with TLS, where clear text was expected."""


class Entered(NamedTuple):
    """A part begins that the socket knows nothing of: the dialog ("starttls"), or the handshake after it ("tls")."""

    phase: Phase


class Dialog(NamedTuple):
    """A message of a STARTTLS dialog, in clear text."""

    direction: Direction
    data: bytes


class TlsUp(NamedTuple):
    """The handshake of a session is done. `dialog`: the protocol that asked for it, or None."""

    version: str
    cipher: str
    seconds: float | None = None
    dialog: str | None = None

    def text(self) -> str:
        """`TLS established: TLSv1.3, TLS_AES_256_GCM_SHA384, by the dialog of smtp`."""
        within = "" if self.seconds is None else f" in {duration(self.seconds)}"
        by = "" if self.dialog is None else f", by the dialog of {self.dialog}"
        return f"TLS established{within}: {self.version}, {self.cipher}{by}"

    @classmethod
    def parse(cls, text: str) -> TlsUp | None:
        """Everything after 'TLS established' is optional."""
        info = r"([^,]*)(?:, (?!by the dialog of )([^,]*))?(?:, by the dialog of (\S+))?"
        if (match := re.fullmatch(rf"TLS established(?: in {DURATION})?(?:: {info})?", text)) is None:
            return None
        shown, version, cipher, dialog = match.groups()
        return cls(version or "", cipher or "", None if shown is None else _seconds(shown), dialog)


class Moving(NamedTuple):
    """Data begins to move; `counters` know at any time how much has moved."""

    counters: Counters


class Moved(NamedTuple):
    """A chunk on its way to the peer, or one from the peer before it is shown; `tls`: under TLS, or in clear text."""

    direction: Direction
    data: bytes
    tls: bool


class Stopped(NamedTuple):
    """Nothing more moves: so much did."""

    sent_bytes: int
    received_bytes: int


class Expected(NamedTuple):
    """`:expect` has found its match."""

    pattern: bytes

    def text(self) -> str:
        """`expected ^220 `; bytes that are no UTF-8 are surrogates."""
        return "expected " + self.pattern.decode("utf-8", "surrogateescape")

    @classmethod
    def parse(cls, text: str) -> Expected | None:
        match = re.fullmatch(r"expected (.*)", text, re.DOTALL)
        return match and cls(match[1].encode("utf-8", "surrogateescape"))


class StdinEnded(NamedTuple):
    """Pipe mode's stdin has ended, and all of it was sent.

    Our EOF was sent with it, unless it is held: then `OurSideEnded` follows later, or never.
    """

    sent_bytes: int
    is_held: bool = False

    def text(self) -> str:
        """`stdin ended: 5 bytes sent`, `stdin ended: 5 bytes sent, our end is held`."""
        return f"stdin ended: {_bytes(self.sent_bytes)} sent" + (", our end is held" if self.is_held else "")

    @classmethod
    def parse(cls, text: str) -> StdinEnded | None:
        match = re.fullmatch(rf"stdin ended: {BYTES} sent(, our end is held)?", text)
        return match and cls(int(match[1]), match[2] is not None)


class OurSideEnded(NamedTuple):
    """Our end was sent, by a session or where it had been held, after so many bytes; None: that was not kept."""

    sent_bytes: int | None = None

    def text(self) -> str:
        """`our side ended`: a transcript has the bytes themselves."""
        return "our side ended"

    @classmethod
    def parse(cls, text: str) -> OurSideEnded | None:
        return cls() if text == "our side ended" else None


class PeerEnded(NamedTuple):
    """The peer's end was read, behind so many bytes; None: that was not kept."""

    received_bytes: int | None = None

    def text(self) -> str:
        """`peer ended: 5 bytes received`; `the peer ended` in the transcript of a session."""
        if self.received_bytes is None:
            return "the peer ended"
        return f"peer ended: {_bytes(self.received_bytes)} received"

    @classmethod
    def parse(cls, text: str) -> PeerEnded | None:
        match = re.fullmatch(rf"peer ended: {BYTES} received|the peer ended", text)
        return match and cls(None if match[1] is None else int(match[1]))


class Broke(NamedTuple):
    """A connection broke, or the run failed: what is said of it. A transcript has `message` alone, as a `Note`."""

    error: BaseException
    message: str
    hint: str = ""

    def text(self) -> str:
        return self.message


class LineFailed(NamedTuple):
    """A line of a script failed, which ends the script; the message has been printed already."""

    error: BaseException
    message: str
    hint: str = ""


class Over(NamedTuple):
    """The run is over."""

    seconds: float
    sent_bytes: int
    received_bytes: int

    def text(self) -> str:
        sent, received = _bytes(self.sent_bytes), _bytes(self.received_bytes)
        return f"over after {duration(self.seconds)}: {sent} sent, {received} received"

    @classmethod
    def parse(cls, text: str) -> Over | None:
        match = re.fullmatch(rf"over after {DURATION}: {BYTES} sent, {BYTES} received", text)
        return match and cls(_seconds(match[1]), int(match[2]), int(match[3]))


class Note(NamedTuple):
    """What else a transcript says: a detail of the event before it, or why a connection broke."""

    said: str

    def text(self) -> str:
        return self.said


Ended = StdinEnded | OurSideEnded | PeerEnded
Kept = (
    TraceEvent
    | TranscriptOf
    | Listening
    | Accepted
    | Connecting
    | Failed
    | Opened
    | TlsUp
    | Expected
    | Ended
    | Broke
    | Over
    | Note
)
Event = Kept | SpeaksTls | Entered | Dialog | Moving | Moved | Stopped | LineFailed

PARSERS: tuple[Callable[[str], Kept | None], ...] = (
    *(TranscriptOf.parse, Connecting.parse, Failed.parse, Connected.parse, Opened.parse, TlsUp.parse),
    *(Expected.parse, StdinEnded.parse, OurSideEnded.parse, PeerEnded.parse, Over.parse),
    *(Listening.parse, Accepted.parse, Resolved.parse, Attempted.parse),
)


def parse(text: str) -> Kept:
    """The event that a transcript has kept as this text; a `Note` if no other event has this text."""
    return next((event for parser in PARSERS if (event := parser(text)) is not None), Note(text))


def os_reason(error: OSError) -> str:
    """The operating system's words alone: asyncio adds "[Errno 111] Connect call failed" around them."""
    if error.errno == errno.EADDRNOTAVAIL:  # the system's text assumes that the user chose the address
        return "no local address and port left to connect from"
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


# ---- whom to tell


class Counters(Protocol):
    """Who moves the bytes."""

    @property
    def sent_bytes(self) -> int: ...

    @property
    def received_bytes(self) -> int: ...


class Subscriber(Protocol):
    """Who wants to know. It is told on the event loop: it must neither block nor raise."""

    @property
    def wants_bytes(self) -> bool:
        """Does it need each `Moved`? Counters are enough for most, and let descriptors be joined in the kernel."""

    def take(self, event: Event) -> None:
        """Take what has happened, at the moment that it has."""


class Subscribers:
    """All who want to know, in the order in which they are told; with nobody in it, telling costs nothing."""

    def __init__(self, subscribers: Iterable[Subscriber] = ()) -> None:
        self._subscribers = list(subscribers)

    def add(self, subscriber: Subscriber) -> None:
        """From now on tell this one too."""
        self._subscribers.append(subscriber)

    def tell(self, event: Event) -> None:
        for subscriber in self._subscribers:
            subscriber.take(event)

    @property
    def wants_bytes(self) -> bool:
        """Does anybody want the bytes?"""
        return any(subscriber.wants_bytes for subscriber in self._subscribers)

    @property
    def trace(self) -> Trace | None:
        """For `SocketOptions.trace`; None with nobody to tell, so that no certificate is read for nobody."""
        return self.tell if self._subscribers else None
