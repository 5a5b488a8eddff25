"""What happened, in lines for a person: `-v`, and the transcript of pipe mode.

What a peer said is escaped (SEC-R20), and what it said in clear text before TLS is marked as that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from cfcat.errors import CertificateError
from cfcat.record.events import MARKS, Dialog
from cfcat.record.kept import Kept
from cfcat.record.making import TlsEstablished
from cfcat.report.facts import describe_certificate, describe_chain, describe_tls
from cfcat.report.render import escape

__all__ = ["describe", "dialog_lines", "untrusted_lines"]


def describe(event: Kept, *, offered: Sequence[str] = ()) -> list[str]:
    """The lines for an event that has just happened; `offered`: ALPN protocols."""
    text = event.text()
    lines = [text] if text else []
    if isinstance(event, TlsEstablished):
        details = describe_tls(event.info, offered)[1:]
        if event.info.chain:
            details += describe_certificate(event.info.chain[0], time.time())
        lines += [f"  {line}" for line in details]
    return lines


def untrusted_lines(error: CertificateError) -> list[str]:
    """The certificates that an error is about, each whole: the message says only what is wrong."""
    if not error.chain:
        return []
    whose = "proxy" if error.proxy else "client" if error.by_client else "server"
    return [
        f"the {whose}'s certificate, and its issuers that were found:",
        *(f"  {line}" for line in describe_chain(error.chain, time.time())),
    ]


def dialog_lines(message: Dialog) -> list[str]:
    """A message of a STARTTLS dialog, line by line."""
    mark = MARKS[message.direction]
    return [f"plain text {mark} {_escape_line(line)}" for line in message.data.splitlines(keepends=True)]


def _escape_line(line: bytes) -> str:
    """The line without its end if that is the usual one; any other end is shown."""
    return escape(line.removesuffix(b"\r\n"))
