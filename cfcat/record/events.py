"""The events of a run: what pipe mode and the session tell. What a socket tells is in `making`; `kept` has them all.

Pure. `-v`, `--json`, transcripts and exports are made from events. Times that are read back have the printed precision.
"""

from __future__ import annotations

import re
from typing import Literal, Protocol, get_args

from cfcat.record.fact import Fact
from cfcat.record.words import BYTES, DURATION, duration, plural, seconds_of

__all__ = [
    "MARKS",
    "Accepted",
    "Broke",
    "Connecting",
    "Counters",
    "Dialog",
    "Direction",
    "Entered",
    "Exited",
    "Expected",
    "Failed",
    "Hidden",
    "LineFailed",
    "Listening",
    "Moved",
    "Moving",
    "NotAccepted",
    "NotReady",
    "Note",
    "Opened",
    "OurSideEnded",
    "Over",
    "PeerEnded",
    "Phase",
    "Said",
    "Scribe",
    "SpeaksTls",
    "StdinEnded",
    "Stopped",
    "TlsUp",
    "TranscriptOf",
]

Direction = Literal["sent", "received"]
Scribe = Literal["client", "server", "tap"]  # whose ">" is what it sent; the tap's is what the client sent
MARKS: dict[Direction, str] = {"sent": ">", "received": "<"}

Phase = Literal["usage", "resolve", "connect", "starttls", "tls", "session", "done"]


class Counters(Protocol):
    """Who moves the bytes."""

    @property
    def sent_bytes(self) -> int: ...

    @property
    def received_bytes(self) -> int: ...


class TranscriptOf(Fact):
    """A transcript begins. `by`: who wrote it; None in those of old, which do not say."""

    target: str
    by: Scribe | None = None

    def text(self) -> str:
        """`the client's transcript of mail.example:587`"""
        return f"the {self.by}'s transcript of {self.target}" if self.by else f"transcript of {self.target}"

    @classmethod
    def parse(cls, text: str) -> TranscriptOf | None:
        if (match := re.fullmatch(r"(?:the (\w+)'s )?transcript of (.*)", text, re.DOTALL)) is None:
            return None
        by = next((scribe for scribe in get_args(Scribe) if scribe == match[1]), None)
        return None if by is None and match[1] else cls(match[2], by)


class Connecting(Fact):
    """How a connection is about to be made: `connect()`'s address and options, and what the command line adds to them.

    `server_name`: to be verified in place of the host, or None. `protocol`: the protocol of the STARTTLS dialog that is
    run first, or None. `proxy`: the URL of the proxy that it goes through, without credentials, or None. It is made by
    `cfcat.core.options.connecting`.
    """

    target: str
    secure_transport: str = "off"
    allow_half_open: bool = False
    server_name: str | None = None
    protocol: str | None = None
    ignore_unexpected_eof: bool = False
    no_shutdown: bool = False
    proxy: str | None = None

    def text(self) -> str:
        """`connecting to mail.example:587 --tls starttls --half-open`, in the words of the command line."""
        words: tuple[tuple[str, str | bool | None], ...] = (
            ("--tls", self.secure_transport),
            ("--half-open", self.allow_half_open),
            ("--sni", self.server_name),
            ("--starttls", self.protocol),
            ("--ignore-unexpected-eof", self.ignore_unexpected_eof),
            ("--no-shutdown", self.no_shutdown),
            ("--proxy", self.proxy),
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
            given.get("--proxy") or None,
        )


class Failed(Fact):
    """The connection of a session did not come about, or its upgrade did not; `reason`: one line."""

    reason: str

    def text(self) -> str:
        return f"could not connect: {self.reason}"

    @classmethod
    def parse(cls, text: str) -> Failed | None:
        match = re.fullmatch(r"could not connect: (.*)", text, re.DOTALL)
        return match and cls(match[1])


class NotReady(Fact):
    """An attempt to connect has failed, for another reason than the one before it; it is made again."""

    reason: str

    def text(self) -> str:
        return f"not ready: {self.reason}"

    @classmethod
    def parse(cls, text: str) -> NotReady | None:
        match = re.fullmatch(r"not ready: (.*)", text, re.DOTALL)
        return match and cls(match[1])


class Opened(Fact):
    """The connection of a session can be used, and is upgraded where that was asked for."""

    remote_address: str

    def text(self) -> str:
        return f"connected to {self.remote_address}"

    @classmethod
    def parse(cls, text: str) -> Opened | None:
        match = re.fullmatch(r"connected to (\S+)", text)
        return match and cls(match[1])


class Listening(Fact):
    """Clients may come, at these addresses: `ip:port`, or `unix:PATH`."""

    addresses: tuple[str, ...]

    def text(self) -> str:
        return f"listening on {', '.join(self.addresses)}"

    @classmethod
    def parse(cls, text: str) -> Listening | None:
        match = re.fullmatch(r"listening on (.+)", text, re.DOTALL)
        return match and cls(tuple(match[1].split(", ")))


class Accepted(Fact):
    """A client has come: `ip:port` of both ends; `remote_address` is "" on a Unix socket."""

    remote_address: str
    local_address: str

    def text(self) -> str:
        return f"accepted {self.remote_address or 'a client'} on {self.local_address}"

    @classmethod
    def parse(cls, text: str) -> Accepted | None:
        match = re.fullmatch(r"accepted (a client|\S+) on (.+)", text, re.DOTALL)
        return match and cls("" if match[1] == "a client" else match[1], match[2])


class SpeaksTls(Fact):
    """A client has begun with TLS, where clear text was expected."""


class NotAccepted(Fact):
    """A client is there and cannot be accepted for now; `reason`: one line."""

    reason: str


class Entered(Fact):
    """A part begins that the socket knows nothing of: the dialog ("starttls"), or the handshake after it ("tls").

    `at_s`: when, by the monotonic clock; None: now.
    """

    phase: Phase
    at_s: float | None = None


class Dialog(Fact):
    """A message of a STARTTLS dialog, in clear text."""

    direction: Direction
    data: bytes


class TlsUp(Fact):
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
        return cls(version or "", cipher or "", None if shown is None else seconds_of(shown), dialog)


class Moving(Fact):
    """Data begins to move; `counters` know at any time how much has moved."""

    counters: Counters


class Moved(Fact):
    """A chunk on its way to the peer, or one from the peer before it is shown; `tls`: under TLS, or in clear text."""

    direction: Direction
    data: bytes
    tls: bool


class Hidden(Fact):
    """The next line that is sent is a secret, whatever it looks like."""


class Stopped(Fact):
    """Nothing more moves: so much did."""

    sent_bytes: int
    received_bytes: int


class Expected(Fact):
    """`:expect` has found its match; or a reply was what `:reply` wanted, at its beginning."""

    pattern: bytes
    is_reply: bool = False

    def text(self) -> str:
        """`expected ^220 `, `replied 220`; bytes that are no UTF-8 are surrogates."""
        return ("replied " if self.is_reply else "expected ") + self.pattern.decode("utf-8", "surrogateescape")

    @classmethod
    def parse(cls, text: str) -> Expected | None:
        match = re.fullmatch(r"(expected|replied) (.*)", text, re.DOTALL)
        return match and cls(match[2].encode("utf-8", "surrogateescape"), match[1] == "replied")


class StdinEnded(Fact):
    """Pipe mode's stdin has ended, and all of it was sent.

    Our EOF was sent with it, unless it is held: then `OurSideEnded` follows later, or never.
    """

    sent_bytes: int
    is_held: bool = False

    def text(self) -> str:
        """`stdin ended: 5 bytes sent`, `stdin ended: 5 bytes sent, our end is held`."""
        return f"stdin ended: {plural(self.sent_bytes, 'byte')} sent" + (", our end is held" if self.is_held else "")

    @classmethod
    def parse(cls, text: str) -> StdinEnded | None:
        match = re.fullmatch(rf"stdin ended: {BYTES} sent(, our end is held)?", text)
        return match and cls(int(match[1]), match[2] is not None)


class OurSideEnded(Fact):
    """Our end was sent, by a session or where it had been held, after so many bytes; None: that was not kept."""

    sent_bytes: int | None = None

    def text(self) -> str:
        """`our side ended`: a transcript has the bytes themselves."""
        return "our side ended"

    @classmethod
    def parse(cls, text: str) -> OurSideEnded | None:
        return cls() if text == "our side ended" else None


class PeerEnded(Fact):
    """The peer's end was read, behind so many bytes; None: that was not kept."""

    received_bytes: int | None = None

    def text(self) -> str:
        """`peer ended: 5 bytes received`; `the peer ended` in the transcript of a session."""
        if self.received_bytes is None:
            return "the peer ended"
        return f"peer ended: {plural(self.received_bytes, 'byte')} received"

    @classmethod
    def parse(cls, text: str) -> PeerEnded | None:
        match = re.fullmatch(rf"peer ended: {BYTES} received|the peer ended", text)
        return match and cls(None if match[1] is None else int(match[1]))


class Broke(Fact):
    """A connection broke, or the run failed: what is said of it. A transcript has `message` alone, as a `Note`."""

    error: BaseException
    message: str
    hint: str = ""

    def text(self) -> str:
        return self.message


class LineFailed(Fact):
    """A line of a script failed, which ends the script; the message has been printed already."""

    error: BaseException
    message: str
    hint: str = ""


class Over(Fact):
    """The run is over."""

    seconds: float
    sent_bytes: int
    received_bytes: int

    def text(self) -> str:
        sent, received = plural(self.sent_bytes, "byte"), plural(self.received_bytes, "byte")
        return f"over after {duration(self.seconds)}: {sent} sent, {received} received"

    @classmethod
    def parse(cls, text: str) -> Over | None:
        match = re.fullmatch(rf"over after {DURATION}: {BYTES} sent, {BYTES} received", text)
        return match and cls(seconds_of(match[1]), int(match[2]), int(match[3]))


class Said(Fact):
    """A warning, or what else was noticed or asked for, has been told the user: escaped, one line or several."""

    told: str


class Exited(Fact):
    """All has been told, and this is the exit status: of a run, or of a connection of the tap."""

    status: int


class Note(Fact):
    """What else a transcript says: a detail of the event before it, or why a connection broke."""

    said: str

    def text(self) -> str:
        return self.said
