"""The documents that people read: the README, the pages of the manual, and the examples that stand in them.

An example of the README is a fenced block with a language. In a page of the manual it is a display, `.Bd` or `.Dl`,
behind a comment:

    .\\" example: sh
    .Dl cfcat -z db.example:5432

The languages are `sh`, `console` (commands behind `$`, and what they print) and `python`. `tests/test_examples.py` runs
them all; a display without the comment, and a block without a language, is a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["EXAMPLES", "MANUAL", "PAGES", "README", "Example", "plain"]

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()
# The text of each page, by its name in the folder.
PAGES = {path.name: path.read_text() for path in sorted((PROJECT / "man").iterdir())}
MANUAL = PAGES["cfcat.1"]


class Example(NamedTuple):
    """What is shown, as somebody types or pastes it; `document`: the name of its file."""

    document: str
    language: str
    text: str


def plain(text: str) -> str:
    """Lines of a literal display, as a reader sees them."""
    for escape, character in (("\\&", ""), ("\\(dq", '"'), ("\\(aq", "'"), ("\\e", "\\")):
        text = text.replace(escape, character)
    return text


def _examples() -> Iterator[Example]:
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        yield Example("README.md", match[1], match[2])
    shown = re.compile(r'^\.\\" example: (\w+)\n(?:\.Bd .*\n((?:.*\n)*?)\.Ed$|\.Dl (.*)$)', re.MULTILINE)
    for name, page in PAGES.items():
        for match in shown.finditer(page):
            yield Example(name, match[1], plain(match[2] or f"{match[3]}\n"))


EXAMPLES = tuple(_examples())
