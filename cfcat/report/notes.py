"""Notes and warnings: what a run or a session says in one line that is no error."""

from __future__ import annotations

from cfcat.edges.target import port_of
from cfcat.record.words import plural
from cfcat.report.render import escape

__all__ = [
    "CLEAR_TEXT_NOTE",
    "INSECURE_NOTE",
    "capture_note",
    "escaped_note",
    "ignored_note",
    "keys_note",
    "log_note",
    "pcap_note",
    "silent_note",
]

INSECURE_NOTE = "warning: the certificate is not checked (-k): anyone can be at the other end"
CLEAR_TEXT_NOTE = "note: --tls starttls stays in clear text here; --starttls PROTO upgrades"


def keys_note(problem: str) -> str:
    """The warning when the file named by SSLKEYLOGFILE cannot be written."""
    return f"warning: {escape(problem)}: keys are not logged"


def log_note(problem: str) -> str:
    """The transcript had to end before the run."""
    return f"warning: the log is not complete: {escape(problem)}"


def pcap_note(path: str) -> str:
    """A capture begins, which has the keys to what it holds."""
    return f"note: whoever can read {escape(path)} can read all that is captured, passwords too"


def capture_note(problem: str) -> str:
    """The capture had to end before the run."""
    return f"warning: the capture is not complete: {escape(problem)}"


def ignored_note(count: int, target: str = "") -> str:
    """Bytes came behind close_notify (SEC-R9). `target`: whose, where that is not plain."""
    whose = f"{target}: " if target else ""
    return f"warning: {whose}{plural(count, 'byte')} behind the peer's end of TLS ignored"


def silent_note(target: str) -> str:
    """A server that was talked to in clear text has ended without a byte; "" where TLS is not expected on its port."""
    from cfcat.protocols.table import TLS_PORTS  # lazy: few runs end so

    if port_of(target) not in TLS_PORTS:
        return ""
    return f"note: {target} sent nothing, and its port is known for TLS: --tls on"


def escaped_note(count: int) -> str:
    """The filter of a terminal did not let everything pass (SEC-R22)."""
    return f"{plural(count, 'control character')} shown escaped; --raw passes them"
