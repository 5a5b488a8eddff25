"""Telnet."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import TLS_FIRST_BYTES, Dialog, Exactly, Names, Nonsense, Send, Step, Until

__all__ = ["GREETING", "client"]

IAC, DONT, DO, WONT, WILL, SB, SE = (bytes((code,)) for code in (255, 254, 253, 252, 251, 250, 240))
START_TLS, FOLLOWS = b"\x2e", b"\x01"
GREETING = rb"\xff[\xfb-\xfe]"  # an option is asked for
FIRST = bytes(code for code in range(256) if code not in TLS_FIRST_BYTES)


def client(names: Names) -> Dialog:
    """draft-altman-telnet-starttls-02; the commands: RFC 854. The server asks, and both say FOLLOWS.

    Text and other options before the server asks are dropped, unanswered.
    """
    yield from _read_do_start_tls()
    follows = IAC + SB + START_TLS + FOLLOWS + IAC + SE
    yield Send(IAC + WILL + START_TLS + follows)
    answer = yield Exactly(3, "FOLLOWS", IAC)
    if answer == IAC + DONT + START_TLS:
        raise _refusal()
    if answer != follows[:3]:
        raise Nonsense(answer)
    answer += yield Exactly(3, "FOLLOWS")
    if answer != follows:
        raise Nonsense(answer)
    return None


def _read_do_start_tls() -> Step[None]:
    what = "DO START_TLS"
    first = FIRST
    while True:
        yield Until(IAC, what, first)
        first = b""
        command = yield Exactly(1, what)
        if command == SB:
            end = b""
            while end != SE:  # IAC SE: what is before it is no command
                yield Until(IAC, what)
                end = yield Exactly(1, what)
        elif command in (DO, DONT, WILL, WONT):
            option = yield Exactly(1, what)
            if option == START_TLS and command == DO:
                return
            if option == START_TLS and command == DONT:
                raise _refusal()


def _refusal() -> DialogError:
    return DialogError("the server refused START_TLS (DONT)")
