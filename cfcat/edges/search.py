"""A search for a regular expression of the user's, which can be given up at any time.

Python's `re` cannot be interrupted: while it backtracks, no signal is handled and no other thread runs. So a search
that may take long is made by a process of its own, which can be killed (SEC-R28).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from cfcat.core.loop import Loop
from cfcat.core.promise import in_daemon_thread

__all__ = ["Found", "SearchTimeout", "is_quick", "search", "search_within", "without"]

# How often something may be repeated, or left out: that is what backtracking is about. A group's own signs are no such.
REPEATS = re.compile(rb"[*+?{]")
NO_REPEATS = re.compile(rb"\\.|\(\?(?:[aiLmsux-]*[:)]|<?[=!]|P<\w+>)", re.DOTALL)
LENGTH_BYTES = 8
# A search whose parent was killed ends by an alarm. One that takes longer has found nothing.
ALARM_S = 60
# It prints where the match begins and ends, then its named groups, in hexadecimal; or nothing.
CHILD = f"""
import re, signal, sys
signal.alarm({ALARM_S})
read = sys.stdin.buffer.read
pattern = re.compile(read(int.from_bytes(read({LENGTH_BYTES}), "big")), int(sys.argv[1]))
found = getattr(pattern, sys.argv[2])(read())
if found:
    print(found.start(), found.end())
    for name, value in found.groupdict().items():
        if value is not None:
            print(name, value.hex())
"""
# The same for what is left of texts: each of them in hexadecimal, in a line.
SUBSTITUTING = f"""
import ast, re, signal, sys
signal.alarm({ALARM_S})
patterns, texts = ast.literal_eval(sys.stdin.read())
for text in map(bytes.fromhex, texts):
    for pattern, flags in patterns:
        text = re.compile(bytes.fromhex(pattern), flags).sub(b"", text)
    print(text.hex())
"""


class SearchTimeout(Exception):
    """The search had not come to its end."""


class Found(NamedTuple):
    """Where the first match is, and those of its named groups that took part in it."""

    start: int
    end: int
    groups: dict[str, bytes]


def is_quick(pattern: re.Pattern[bytes]) -> bool:
    """Is the time of a search at most that of comparing the pattern at every place?"""
    return REPEATS.search(NO_REPEATS.sub(b"", pattern.pattern)) is None


async def search(loop: Loop, pattern: re.Pattern[bytes], text: bytes, *, at_start: bool = False) -> Found | None:
    """The first match; `at_start`: only at the beginning of the text.

    The loop goes on meanwhile, and cancelling the wait ends the search.
    """
    how = "match" if at_start else "search"
    if is_quick(pattern):
        return _found(getattr(pattern, how)(text))
    process = _begin(pattern, how)
    try:
        return await in_daemon_thread(loop, lambda: _result(process, pattern, text), "cfcat-search")
    finally:
        process.kill()


async def without(loop: Loop, patterns: Sequence[re.Pattern[bytes]], texts: Sequence[bytes]) -> list[bytes]:
    """The texts without what these patterns match. As for `search`; one that takes too long leaves them as they are."""
    if all(map(is_quick, patterns)):
        return [_without(patterns, text) for text in texts]
    given = [[[each.pattern.hex(), each.flags] for each in patterns], [text.hex() for text in texts]]
    process = _run(SUBSTITUTING)
    try:
        said = await in_daemon_thread(loop, lambda: process.communicate(repr(given).encode())[0], "cfcat-search")
    finally:
        process.kill()
    return [bytes.fromhex(line) for line in said.decode().splitlines()] or list(texts)


def _without(patterns: Sequence[re.Pattern[bytes]], text: bytes) -> bytes:
    for pattern in patterns:
        text = pattern.sub(b"", text)
    return text


def search_within(limit_s: float, pattern: re.Pattern[bytes], text: bytes) -> Found | None:
    """As `search`, without a loop. Raises SearchTimeout."""
    if is_quick(pattern):
        return _found(pattern.search(text))
    process = _begin(pattern, "search")
    try:
        return _result(process, pattern, text, limit_s)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise SearchTimeout from error


def _found(match: re.Match[bytes] | None) -> Found | None:
    if match is None:
        return None
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    return Found(match.start(), match.end(), groups)


def _begin(pattern: re.Pattern[bytes], how: str) -> subprocess.Popen[bytes]:
    return _run(CHILD, str(pattern.flags), how)


def _run(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal is for us.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _result(
    process: subprocess.Popen[bytes], pattern: re.Pattern[bytes], text: bytes, limit_s: float | None = None
) -> Found | None:
    head = len(pattern.pattern).to_bytes(LENGTH_BYTES, "big")
    said, _ = process.communicate(head + pattern.pattern + text, timeout=limit_s)
    place, *groups = (line.split() for line in said.decode().splitlines()) if said else ([],)
    if not place:
        return None
    return Found(int(place[0]), int(place[1]), {name: bytes.fromhex("".join(value)) for name, *value in groups})
