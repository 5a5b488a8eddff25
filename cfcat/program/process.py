"""The process that the program is: its first three descriptors, how many more it may have, how it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from typing import NoReturn

from cfcat.program.modes import Stdin

__all__ = ["check_descriptors", "die_of_sigpipe", "guard_standard_descriptors", "kind_of_stdin"]

LOOP_DESCRIPTORS = 3  # epoll, and the pair of sockets that wakes it


def guard_standard_descriptors() -> list[int]:
    """Fill closed descriptors 0 to 2 with /dev/null, so that no socket becomes one; returns which were closed."""
    closed = []
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            closed.append(fd)
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number: fd itself
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
    return closed


def kind_of_stdin(closed: Collection[int]) -> Stdin:
    """What descriptor 0 is; `closed`: which of the first three were, when the process began."""
    return Stdin.CLOSED if 0 in closed else Stdin.TERMINAL if os.isatty(0) else Stdin.OTHER


def check_descriptors() -> None:
    """Raise OSError where there are too few for an event loop: a half-created event loop warns when it is
    garbage-collected."""
    taken: list[int] = []
    try:
        while len(taken) < LOOP_DESCRIPTORS:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for fd in taken:
            os.close(fd)


def die_of_sigpipe() -> NoReturn:
    """The reader of stdout is gone: end as a C program would, silently and by the signal."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise SystemExit(128 + signal.SIGPIPE)  # the signal was blocked
