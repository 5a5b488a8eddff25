"""Large pastes: one character stands for the text in the line, and is drawn as a label.

The editor lays out every character of its line at every key, which takes seconds for a megabyte; and nobody wants to
see 20 000 lines behind the prompt. What is pasted in small pieces stays as it is.
"""

from __future__ import annotations

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments

from cfcat.report.render import escape, is_byte

__all__ = ["FoldProcessor", "Folds", "label"]

FOLD_CHARACTERS = 4096
# High surrogates. No terminal can give one: what it sends is decoded as UTF-8, where they do not exist, and a byte that
# is no UTF-8 becomes a low one (surrogateescape). So no text that is typed or pasted has a meaning here (SEC-R30).
FIRST, LAST = 0xD800, 0xDBFF
FORGOTTEN = "[a paste that is gone]"  # killed before Enter, and yanked after it


def label(text: str) -> str:
    """What is shown for a text that is folded."""
    lines = text.count("\n") + 1
    return f"[{len(text)} characters, {lines} {'line' if lines == 1 else 'lines'}]"


class Folds:
    """The texts that characters stand for, until `forget()`."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """The text itself, or the character for one that is long."""
        if len(text) < FOLD_CHARACTERS or FIRST + len(self._texts) > LAST:
            return text
        character = chr(FIRST + len(self._texts))
        self._texts[character] = text
        return character

    def forget(self) -> dict[str, str]:
        """The line was entered, or put aside: nothing stands for a text any more. `recall` takes what is returned."""
        texts, self._texts = self._texts, {}
        return texts

    def recall(self, texts: dict[str, str]) -> None:
        """The line that was put aside is back."""
        self._texts = texts

    def unfold(self, line: str) -> str:
        """A line with the texts that it stands for; of one that was forgotten nothing is left."""
        if line.isascii():
            return line
        return "".join(self._texts.get(each, "") if _stands_for_text(each) else each for each in line)

    def show(self, line: str) -> str:
        """A line with labels."""
        return line if line.isascii() else "".join(self.label_of(each) or each for each in line)

    def label_of(self, character: str) -> str:
        """The label of a character that stands for a text, or ""."""
        if not _stands_for_text(character):
            return ""
        return label(self._texts[character]) if character in self._texts else FORGOTTEN


def _stands_for_text(character: str) -> bool:
    return FIRST <= ord(character) <= LAST


class FoldProcessor(Processor):
    """Draws labels, and bytes that are no UTF-8; the cursor is before or behind one, never in it."""

    def __init__(self, folds: Folds) -> None:
        self._folds = folds

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Put the labels in their places."""
        fragments = transformation_input.fragments
        if all(fragment[1].isascii() for fragment in fragments):
            return Transformation(fragments)
        shown: StyleAndTextTuples = []
        starts = []  # where each character of the line is drawn
        columns = 0
        for style, text, *_ in explode_text_fragments(fragments):
            drawn = self._folds.label_of(text)
            starts.append(columns)
            shown.append(("reverse", drawn) if drawn else (style, escape(text) if is_byte(text) else text))
            columns += len(shown[-1][1])
        starts.append(columns)
        return Transformation(
            shown,
            source_to_display=lambda at: starts[at] if at < len(starts) else columns + at - len(starts) + 1,
            display_to_source=lambda at: max(i for i, start in enumerate(starts) if start <= at),
        )
