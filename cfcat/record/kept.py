"""All that can be told of a connection, in one union; what of it a transcript keeps; and how that is read back.

Pure. A `Kept` event is one that a transcript keeps: its `text()` is what the transcript says, and `parse()` beside it
reads that back, so that nobody else needs to know the words.
"""

from __future__ import annotations

from collections.abc import Callable

from cfcat.record.events import (
    Accepted,
    Broke,
    Connecting,
    Dialog,
    Entered,
    Exited,
    Expected,
    Failed,
    Hidden,
    LineFailed,
    Listening,
    Moved,
    Moving,
    NotAccepted,
    Note,
    NotReady,
    Opened,
    OurSideEnded,
    Over,
    PeerEnded,
    Said,
    SpeaksTls,
    StdinEnded,
    Stopped,
    TlsUp,
    TranscriptOf,
)
from cfcat.record.making import Attempted, Connected, Proxied, Resolved, TraceEvent
from cfcat.record.sides import ClientCame, ClientTls, SideEnded

__all__ = ["PARSERS", "Ended", "Event", "Kept", "parse"]

Ended = StdinEnded | OurSideEnded | PeerEnded
Kept = (
    TraceEvent
    | TranscriptOf
    | Listening
    | Accepted
    | Connecting
    | Failed
    | NotReady
    | Opened
    | TlsUp
    | Expected
    | Ended
    | ClientCame
    | ClientTls
    | SideEnded
    | Broke
    | Over
    | Note
)
Event = (
    Kept | NotAccepted | SpeaksTls | Entered | Dialog | Moving | Moved | Hidden | Stopped | LineFailed | Said | Exited
)

PARSERS: tuple[Callable[[str], Kept | None], ...] = (
    *(TranscriptOf.parse, Connecting.parse, Failed.parse, NotReady.parse, Connected.parse, Opened.parse, TlsUp.parse),
    *(Expected.parse, StdinEnded.parse, OurSideEnded.parse, PeerEnded.parse, Over.parse),
    *(Listening.parse, Accepted.parse, ClientCame.parse, ClientTls.parse, SideEnded.parse),
    *(Resolved.parse, Proxied.parse, Attempted.parse),
)


def parse(text: str) -> Kept:
    """The event that a transcript has kept as this text; a `Note` if no other event has this text."""
    return next((event for parser in PARSERS if (event := parser(text)) is not None), Note(text))
