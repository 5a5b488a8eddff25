"""Hints in a session name what can be typed there, whatever the error."""

from __future__ import annotations

import re

import pytest

from cfcat.errors import CertificateError, CrossedWiresError, DialogError, SocketError, TlsError, TruncatedError
from cfcat.repl.advice import explain_here
from cfcat.repl.arguments import OPEN_OPTIONS, parse_open
from cfcat.report.hints import CERTIFICATE_HINTS, TLS_HINTS

ERRORS: list[SocketError] = [
    *(CertificateError("certificate not trusted: x", verify_code=code) for code in (*CERTIFICATE_HINTS, 99)),
    *(TlsError("TLS handshake failed: x", reason=reason) for reason in TLS_HINTS),
    TlsError("peer does not speak TLS", said=b"220 mail.example"),
    TlsError("peer does not speak TLS", said=b"SSH-2.0"),
    TruncatedError("x", "y"),
    CrossedWiresError("the peer answered clear text with a TLS alert"),
    DialogError("the server seems to speak TLS from the first byte", speaks_tls=True),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__} {getattr(error, 'reason', '')}")
def test_a_hint_names_no_option_that_cannot_be_typed(error: SocketError) -> None:
    """Every option in it belongs to `:open`, which stands before it."""
    for part in filter(None, explain_here(error, "h:25").hint.split("; ")):
        options = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", part)
        assert set(options) <= set(OPEN_OPTIONS), part
        assert not options or part.startswith(":open -"), part


def test_what_a_hint_names_is_taken() -> None:
    """The beginning of each, with a value where it stands for one."""
    hints = [
        part for error in ERRORS for part in explain_here(error, "h:25").hint.split("; ") if part.startswith(":open")
    ]
    assert hints
    for hint in hints:
        words = hint.split()[1:3]
        known = words if OPEN_OPTIONS[words[0]] not in ("insecure", "ignore_unexpected_eof") else words[:1]
        parse_open(" ".join(known))
