"""The exit statuses: curl's numbers where curl has one. `messages` says which error has which."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitStatus"]


class ExitStatus(IntEnum):
    """How a run ended. Death by a signal is 128 + its number, and really is by the signal."""

    OK = 0
    EXPECT = 1  # a command of a script failed: most often :expect
    USAGE = 2
    RESOLVE = 6
    CONNECT = 7
    INJECTION = 8
    TRUNCATED = 18
    STDOUT = 23
    STDIN = 26
    TIMEOUT = 28
    TLS = 35
    UNANSWERED = 52
    SEND = 55
    RECEIVE = 56
    CLIENT_CERTIFICATE = 58
    CERTIFICATE = 60
    STARTTLS = 64
    CA_FILE = 77
    INTERNAL = 70
    PROXY = 97
