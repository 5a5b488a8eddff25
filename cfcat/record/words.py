"""How durations and counts are written, and read back: the printed precision is what is kept.

Pure.
"""

from __future__ import annotations

__all__ = ["BYTES", "DURATION", "duration", "plural", "seconds_of"]

DURATION = r"([0-9]+\.[0-9] ms|[0-9]+\.[0-9]{2} s)"
BYTES = r"([0-9]{1,18}) bytes?"


def duration(seconds: float) -> str:
    """`0.4 ms`, `1.25 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def seconds_of(shown: str) -> float:
    """What `duration` was given, in the precision that it shows."""
    number, unit = shown.split()
    return float(number) / 1000 if unit == "ms" else float(number)


def plural(count: int, noun: str) -> str:
    """`1 byte`, `5 bytes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
