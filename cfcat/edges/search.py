"""A search for a regular expression of the user's, which can be given up at any time.

Python's `re` cannot be interrupted: while it backtracks, no signal is handled and no other thread runs. So a search
that may take long is made by a process of its own, which can be killed (SEC-R28).
"""

from __future__ import annotations

import re
import subprocess
import sys

from cfcat.core.loop import Loop
from cfcat.core.promise import in_daemon_thread

__all__ = ["SearchTimeout", "is_quick", "search", "search_within"]

# How often something may be repeated, or left out: that is what backtracking is about. A group's own signs are no such.
REPEATS = re.compile(rb"[*+?{]")
NO_REPEATS = re.compile(rb"\\.|\(\?(?:[aiLmsux-]*[:)]|<?[=!]|P<\w+>)", re.DOTALL)
LENGTH_BYTES = 8
# A search whose parent was killed ends by an alarm. One that takes longer has found nothing.
ALARM_S = 60
# It prints the end of the match, or nothing.
CHILD = f"""
import re, signal, sys
signal.alarm({ALARM_S})
read = sys.stdin.buffer.read
pattern = read(int.from_bytes(read({LENGTH_BYTES}), "big"))
found = re.compile(pattern, int(sys.argv[1])).search(read())
if found:
    print(found.end())
"""


class SearchTimeout(Exception):
    """The search had not come to its end."""


def is_quick(pattern: re.Pattern[bytes]) -> bool:
    """Is the time of a search at most that of comparing the pattern at every place?"""
    return REPEATS.search(NO_REPEATS.sub(b"", pattern.pattern)) is None


async def search(loop: Loop, pattern: re.Pattern[bytes], text: bytes) -> int | None:
    """Where the first match ends, or None. The loop goes on meanwhile, and cancelling the wait ends the search."""
    if is_quick(pattern):
        return _end_of(pattern, text)
    process = _begin(pattern)
    try:
        return await in_daemon_thread(loop, lambda: _result(process, pattern, text), "cfcat-search")
    finally:
        process.kill()


def search_within(limit_s: float, pattern: re.Pattern[bytes], text: bytes) -> int | None:
    """As `search`, without a loop. Raises SearchTimeout."""
    if is_quick(pattern):
        return _end_of(pattern, text)
    process = _begin(pattern)
    try:
        return _result(process, pattern, text, limit_s)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise SearchTimeout from error


def _end_of(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    found = pattern.search(text)
    return None if found is None else found.end()


def _begin(pattern: re.Pattern[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal is for us.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CHILD, str(pattern.flags)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _result(
    process: subprocess.Popen[bytes], pattern: re.Pattern[bytes], text: bytes, limit_s: float | None = None
) -> int | None:
    head = len(pattern.pattern).to_bytes(LENGTH_BYTES, "big")
    said, _ = process.communicate(head + pattern.pattern + text, timeout=limit_s)
    return int(said) if said.strip() else None
