"""Telnet."""

from __future__ import annotations

from cfcat.errors import DialogError
from cfcat.protocols.dialog import TLS_FIRST_BYTES, Dialog, Exactly, Names, Nonsense, Send, Step, Until, left

__all__ = ["GREETING", "client", "server"]

IAC, DONT, DO, WONT, WILL, SB, SE = (bytes((code,)) for code in (255, 254, 253, 252, 251, 250, 240))
START_TLS, FOLLOWS = b"\x2e", b"\x01"
REFUSALS = {WILL: DONT, DO: WONT}
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
    first = FIRST
    while True:
        command, option = yield from _read_command("DO START_TLS", first)
        first = b""
        if option == START_TLS and command == DO:
            return
        if option == START_TLS and command == DONT:
            raise _refusal()


def _refusal() -> DialogError:
    return DialogError("the server refused START_TLS (DONT)")


def server(names: Names) -> Dialog:
    """draft-altman-telnet-starttls-02, from the other end: we ask, and refuse whatever else the client offers."""
    yield Send(IAC + DO + START_TLS)
    has_agreed = False
    first = FIRST
    while True:
        command, option = yield from _read_command("WILL START_TLS", first)
        first = b""
        if command == SB:
            if has_agreed and option == START_TLS + FOLLOWS:
                yield Send(IAC + SB + START_TLS + FOLLOWS + IAC + SE)
                return None
        elif option == START_TLS and command == WONT:
            raise left("WONT START_TLS")
        elif option == START_TLS and command == WILL:
            has_agreed = True
        elif command in REFUSALS:
            yield Send(IAC + REFUSALS[command] + option)


def _read_command(what: str, first: bytes) -> Step[tuple[bytes, bytes]]:
    """Return the next DO, DONT, WILL or WONT with its option, or SB with what is between it and IAC SE.

    Text and commands of one byte before it are dropped. `first`: as in `Until`.
    """
    while True:
        yield Until(IAC, what, first)
        first = b""
        command = yield Exactly(1, what)
        if command == SB:
            return command, (yield from _read_subnegotiation(what))
        if command in (DO, DONT, WILL, WONT):
            return command, (yield Exactly(1, what))


def _read_subnegotiation(what: str) -> Step[bytes]:
    data = bytearray()  # a peer may send it in pieces of two bytes
    end = b""
    while end != SE:  # IAC SE: what is before it is no command
        data += (yield Until(IAC, what))[:-1]
        end = yield Exactly(1, what)
        if end != SE:
            data += IAC
    return bytes(data)
