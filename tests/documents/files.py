"""Which documents have generated parts, and what they are to be."""

from __future__ import annotations

import re
from pathlib import Path

from cfcat.protocols import PROTOCOLS
from tests.documents.flags import profiles
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
    texts = {PROJECT / name: fill((PROJECT / name).read_text(), parts) for name, parts in FILES.items()}
    readme = PROJECT / "README.md"
    return {**texts, readme: _with_lists(readme.read_text())}


def _with_lists(readme: str) -> str:
    """In a table there is no room for marker comments: the last list in the rows of these two options is made.

    Raises:
        ValueError: there is no such row.
    """
    for option, names in (("--starttls PROTO", tuple(PROTOCOLS)), ("--proto NAME", profiles())):
        row = re.compile(rf"^(\| `{option}` \|.*`)[^`]*(` \|)$", re.MULTILINE)
        readme, count = row.subn(lambda match, names=names: match[1] + " ".join(names) + match[2], readme)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"README.md has {count} rows for {option}")
    return readme
