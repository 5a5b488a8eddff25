"""A transcript's file, read for a replay; and what can be told of it before anybody is connected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TextIO

from cfcat.errors import TranscriptError, reason_of
from cfcat.record.events import Side
from cfcat.record.replaying import Recorded, read_recorded
from cfcat.report.render import escape

__all__ = ["open_recorded"]

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


def _lines(file: TextIO) -> Iterator[str]:
    """Raises TranscriptError: a line has no end."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise TranscriptError(f"line {number}: not an entry of a transcript: it is too long")
        yield line
