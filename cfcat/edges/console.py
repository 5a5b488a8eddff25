"""Messages to the user on stderr; a broken stderr is ignored."""

from __future__ import annotations

from functools import cache

from cfcat.edges.stderr import Stderr
from cfcat.report.messages import Message

__all__ = ["put", "say"]


def say(text: str) -> None:
    """Print one line of ours."""
    put(str(Message(text)))


def put(text: str) -> None:
    """Print text as it is."""
    _stderr().write(text)


@cache
def _stderr() -> Stderr:
    return Stderr()
