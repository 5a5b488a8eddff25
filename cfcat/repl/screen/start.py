"""A session on a terminal: the way in."""

from __future__ import annotations

import os
from collections.abc import Callable

from cfcat.repl.screen.face import TerminalFace
from cfcat.repl.session import Face, Session

__all__ = ["run_screen"]

# TERM values without cursor control.
DUMB = frozenset({"", "dumb", "unknown"})


async def run_screen(make_session: Callable[[Face], Session], *, color: bool = False) -> int:
    """Run a session on the terminal that is descriptors 0 and 1; returns the exit status.

    `make_session` is called once, in the running loop. `color`: SGR colours may be used. Dies of SIGINT, SIGTERM and
    SIGHUP when they come from outside, with the terminal as it was.

    Raises:
        SocketError: the first connection did not come about.
    """
    return await _face(color).run(make_session)


def _face(color: bool) -> TerminalFace:
    if not _moves_its_cursor(os.environ.get("TERM", "")):
        from cfcat.repl.screen.plain import Plain

        return Plain()
    from cfcat.repl.screen.drawn import Screen  # lazy: prompt_toolkit, 130 ms

    return Screen(color=color)


def _moves_its_cursor(term: str) -> bool:
    """Does it take ECMA-48's cursor sequences, as prompt_toolkit sends them? Yes, if no description says otherwise."""
    if term in DUMB:
        return False
    try:
        import curses
    except ImportError:  # not every Python is built with it
        return True
    try:
        curses.setupterm(term, 1)
    except curses.error:
        return True
    return (curses.tigetstr("cuu") or b"").startswith(b"\x1b[")
