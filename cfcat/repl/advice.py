"""What is told inside a session: errors with hints that can be typed there, dialogs, and who a network is. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address

from cfcat.core.address import UNIX
from cfcat.errors import TlsError
from cfcat.repl.arguments import OPEN_OPTIONS
from cfcat.report.messages import Message, explain
from cfcat.report.notes import silent_note
from cfcat.report.render import escape

__all__ = ["dialog_lines", "explain_here", "is_loopback", "silent_note_here"]

# What the command line would be told, and what a session is told.
WITHOUT_WORKERS = ("without --workers ", "after :set workers off ")
KEPT = ("--shutdown ", "--var ")  # for the next run of a script, which has a command line
OPTION = re.compile(r"(?:try )?(--?[a-z][a-z-]*)")
MENTIONED = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")

# `:starttls` without PROTO assumes that the user has sent STARTTLS.
UNASKED_HINT = "was it asked? :open connects again, and :starttls PROTO asks first"


def explain_here(error: BaseException, target: str) -> Message:
    """As `explain`, with the hints of a session."""
    message = explain(error, target)
    if isinstance(error, TlsError) and error.upgrading and error.said:
        return message._replace(hint=UNASKED_HINT)
    parts = map(_part_here, message.hint.split("; "))
    return message._replace(hint="; ".join(filter(None, parts)))


def _part_here(part: str) -> str:
    """A part of a hint, as it can be typed in a session; "" where it names an option that cannot."""
    if part.startswith(KEPT) or ":open " in part:
        return part
    if part.startswith(WITHOUT_WORKERS[0]):
        return part.replace(*WITHOUT_WORKERS, 1)
    named = OPTION.match(part)
    if named is not None and named[1] in OPEN_OPTIONS:
        return ":open " + part.removeprefix("try ")
    return "" if MENTIONED.search(part) else part


def silent_note_here(target: str) -> str:
    """As `silent_note`, with the hint of a session."""
    return silent_note(target).replace("--tls on", ":open --tls on")


def dialog_lines(data: bytes) -> list[str]:
    """A message of a STARTTLS dialog, line by line where it has lines; what is not text is one line."""
    lines = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").removesuffix("\n").split("\n")
    return lines if all(map(str.isprintable, lines)) else [escape(data)]


def is_loopback(address: str) -> bool:
    """Does what is sent to `ip:port` never leave this machine? "" and `unix:/path` are the peer on a Unix socket."""
    if not address or address.startswith(UNIX):
        return True
    ip = ip_address(address.rpartition(":")[0].strip("[]").partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback
