"""Ask for a password, on the terminal and nowhere else: stdin carries data (SEC-R23)."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
from collections.abc import Iterator
from types import FrameType

from cfcat.errors import SocketError

__all__ = ["ask_password"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupted(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


def ask_password(prompt: str, without: SocketError) -> str:
    """Ask without echo; echo is restored before a signal ends the program. Without a terminal it raises `without`."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise without from error
    try:
        with _signals_raise():
            return getpass.getpass(prompt)
    except EOFError:
        return ""
    except _Interrupted as interrupted:
        os.kill(os.getpid(), interrupted.number)
        raise SystemExit(128 + interrupted.number) from None  # the signal is ignored or blocked: end all the same


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Let signals end the wait by an exception, so that getpass restores the echo; nothing else runs meanwhile."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Interrupted(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ENDING:
            signal.signal(number, before[number])
