"""Parts of a document between two marker comments, by name."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping

__all__ = ["Parts", "fill", "wrap"]

COMMAND = "made by python -m tests.documents"
# What makes a part: from its text, as it stands there, to the new one. Both end with a line end, or are empty.
Parts = Mapping[str, Callable[[str], str]]


def fill(document: str, parts: Parts) -> str:
    """The document with each of these parts made anew; a part may stand in one that is named before it.

    Raises:
        ValueError: a part has not its two markers there, once each.
    """
    for name, make in parts.items():
        marked = re.compile(
            rf"^(?P<begin>(?P<indent> *)(?P<mark>#|\.\\\") {COMMAND}: {name}\n)(?P<text>.*?)"
            rf"^(?P<end>(?P=indent)(?P=mark) end of {name}\n)",
            re.MULTILINE | re.DOTALL,
        )
        matches = list(marked.finditer(document))
        if len(matches) != 1:
            raise ValueError(f"the part '{name}' is there {len(matches)} times")
        (match,) = matches
        made = textwrap.indent(make(textwrap.dedent(match["text"])), match["indent"])
        document = document[: match.start("text")] + made + document[match.end("text") :]
    return document


def wrap(text: str, *, width: int, begin: str = "", indent: str = "", end: str = "") -> str:
    """`begin` and the words of a text, in lines of this width, which end with `end`, but for the last.

    The lines after the first are indented. A no-break space is a space at which no line ends.
    """
    lines = textwrap.wrap(
        text,
        width - len(end),
        initial_indent=begin,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{end}\n".join(lines).replace("\xa0", " ")
