"""Which documents have generated parts, and what they are to be."""

from __future__ import annotations

from pathlib import Path

from tests.documents.manual import MANUAL
from tests.documents.parts import Parts, fill
from tests.documents.shells import BASH, FISH, ZSH

__all__ = ["FILES", "PROJECT", "made"]

PROJECT = Path(__file__).parents[2]
FILES: dict[str, Parts] = {
    "completions/cfcat.bash": BASH,
    "completions/_cfcat": ZSH,
    "completions/cfcat.fish": FISH,
    "man/cfcat.1": MANUAL,
}


def made() -> dict[Path, str]:
    """Every document with generated parts, as it should be."""
    return {PROJECT / name: fill((PROJECT / name).read_text(), parts) for name, parts in FILES.items()}
