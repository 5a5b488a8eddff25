"""A transcript's file, read for a replay; and what can be told of it before anybody is connected."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TextIO

from cfcat.errors import TranscriptError, reason_of
from cfcat.record.replaying import Recorded, read_recorded
from cfcat.record.sides import Side
from cfcat.report.render import escape

__all__ = ["agreed_alpn", "names_asked_for", "open_recorded"]

NAME = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")
ALPN = re.compile(r"[!-+\--~]{1,100}")  # no comma
MAX_LINE = 4 * 1024 * 1024  # characters: a chunk of the fastest read, each byte of it as \xNN


def open_recorded(path: str | os.PathLike[str], connection: int | None, side: Side) -> Recorded:
    """The connection of a transcript, of which this side is to be played.

    Raises:
        TranscriptError: as `read_recorded`; it cannot be read; or a secret would have to be sent.
    """
    name = escape(os.fspath(path))
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            recorded = read_recorded(_lines(file), connection)
    except TranscriptError as error:
        raise TranscriptError(f"{name}: {error.message}", error.hint) from error
    except (OSError, ValueError) as error:
        raise TranscriptError(f"cannot read {name}: {escape(reason_of(error))}") from error
    if line := recorded.masked_line(side):
        hint = "--log-secrets keeps secrets in a transcript; -l plays the server, who has none to send"
        raise TranscriptError(f"{name}: line {line}: a secret is masked here (****), and would have to be sent", hint)
    return recorded


def names_asked_for(recorded: Recorded) -> list[str]:
    """The server names that the client asked for, where a certificate can have them."""
    return [step.server_name for step in recorded.tls_with("client") if NAME.fullmatch(step.server_name)]


def agreed_alpn(recorded: Recorded) -> tuple[str, ...]:
    """The ALPN protocol that was agreed on, where the transcript says so."""
    return tuple(step.alpn for step in recorded.tls_with("client") if ALPN.fullmatch(step.alpn))


def _lines(file: TextIO) -> Iterator[str]:
    """Raises TranscriptError: a line has no end."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise TranscriptError(f"line {number}: not an entry of a transcript: it is too long")
        yield line
