"""The form that every message has, whatever it says."""

from __future__ import annotations

import re

__all__ = ["check_form"]

CLASS_NAME = re.compile(r"\b[A-Z]\w+(Error|Timeout|Exception)\b")


def check_form(stderr: str) -> tuple[str, str]:
    """Fail unless this is one message: `cfcat: WHAT`, and perhaps `  hint: ACTION`; return both.

    One line each, printable, lower case but for names, no full stop, no class name, no traceback.
    """
    lines = stderr.split("\n")
    assert lines.pop() == "", f"the last line has no end: {stderr!r}"
    assert 1 <= len(lines) <= 2, stderr
    assert lines[0].startswith("cfcat: "), stderr
    text = lines[0].removeprefix("cfcat: ")
    hint = ""
    if len(lines) == 2:
        assert lines[1].startswith("  hint: "), stderr
        hint = lines[1].removeprefix("  hint: ")
        assert hint.strip(), stderr
    assert text.strip(), stderr
    for part in (text, hint):
        assert part.isprintable(), ascii(part)
        assert part == part.strip(), ascii(part)
        assert not part.endswith("."), part
        assert not CLASS_NAME.search(part), part
    return text, hint
