"""Large pastes: one character stands for the text in the line, and is drawn as a label.

The editor lays out every character of its line at every key, which takes seconds for a megabyte; and nobody wants to
see 20 000 lines behind the prompt. What is pasted in small pieces stays as it is.
"""

from __future__ import annotations

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments

__all__ = ["FoldProcessor", "Folds", "label"]

FOLD_CHARACTERS = 4096
# Supplementary Private Use Area-A: no keyboard and no peer has a use for it (Unicode Standard, 23.5).
FIRST, LAST = 0xF0000, 0xFFFFD


def label(text: str) -> str:
    """What is shown for a text that is folded."""
    lines = text.count("\n") + 1
    return f"[{len(text)} characters, {lines} {'line' if lines == 1 else 'lines'}]"


class Folds:
    """The texts that characters stand for."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """The text itself, or the character for one that is long."""
        if len(text) < FOLD_CHARACTERS or FIRST + len(self._texts) > LAST:
            return text
        character = chr(FIRST + len(self._texts))
        self._texts[character] = text
        return character

    def unfold(self, line: str) -> str:
        """A line with the texts that it stands for."""
        return "".join(self._texts.get(character, character) for character in line) if self._texts else line

    def show(self, line: str) -> str:
        """A line with labels."""
        return "".join(self.label_of(character) or character for character in line) if self._texts else line

    def label_of(self, character: str) -> str:
        """The label of a character that stands for a text, or ""."""
        return label(self._texts[character]) if character in self._texts else ""


class FoldProcessor(Processor):
    """Draws labels; the cursor is before or behind one, never in it."""

    def __init__(self, folds: Folds) -> None:
        self._folds = folds

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Put the labels in their places."""
        fragments = transformation_input.fragments
        if not any(self._folds.label_of(character) for fragment in fragments for character in fragment[1]):
            return Transformation(fragments)
        shown: StyleAndTextTuples = []
        starts = []  # where each character of the line is drawn
        columns = 0
        for style, text, *_ in explode_text_fragments(fragments):
            drawn = self._folds.label_of(text)
            starts.append(columns)
            shown.append(("reverse", drawn) if drawn else (style, text))
            columns += len(drawn or text)
        starts.append(columns)
        return Transformation(
            shown,
            source_to_display=lambda at: starts[at] if at < len(starts) else columns + at - len(starts) + 1,
            display_to_source=lambda at: max(i for i, start in enumerate(starts) if start <= at),
        )
