"""What -v says of an event."""

from __future__ import annotations

import pytest

from cfcat.core.certificate import PeerCertificate, TlsInfo
from cfcat.record.events import Dialog, StdinEnded
from cfcat.record.kept import Kept
from cfcat.record.making import Attempted, Resolved, TlsEstablished
from cfcat.report.lines import describe, dialog_lines

CERTIFICATE = PeerCertificate("CN=h\x1b[2J", ("h",), "CN=ca", "2026-01-02T00:00:00Z", "", "01", "aa")
INFO = TlsInfo("TLSv1.3", "X", "h2", "h", True, (CERTIFICATE,))


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (StdinEnded(1), ["stdin ended: 1 byte sent"]),
        (Resolved(("127.0.0.1:1",), 0.1, "127.0.0.1:1"), []),
        (Attempted("127.0.0.1:1", "connected", None, 0.1), []),
        (
            TlsEstablished(INFO, 0.002),
            [
                "TLS established in 2.0 ms: TLSv1.3, X",
                "  ALPN: h2",
                "  server name: h",
                "  certificate: verified, vouched for by CN=h\\x1b[2J",
                "  subject: CN=h\\x1b[2J",
                "  names: h",
                "  issuer: CN=ca",
                "  valid: 2026-01-02 to , which makes no sense",
                "  serial: 01",
                "  sha256: aa",
            ],
        ),
    ],
)
def test_lines_of_an_event(event: Kept, lines: list[str]) -> None:
    """Its text, and below TLS what that has established; what a certificate says is escaped."""
    assert describe(event) == lines


def test_alpn_that_was_offered() -> None:
    info = TlsInfo("TLSv1.3", "X", None, None, False, ())
    assert describe(TlsEstablished(info, 0.0), offered=["h2"])[1] == "  ALPN: none; the peer acknowledged none of h2"


def test_a_dialog_is_escaped() -> None:
    """Line by line, each marked as what it is; only the usual line end is not shown."""
    message = Dialog("received", b"220 a\x1b\r\n250 b\n")
    assert dialog_lines(message) == ["plain text < 220 a\\x1b", "plain text < 250 b\\x0a"]
    assert dialog_lines(Dialog("sent", b"EHLO\r\n")) == ["plain text > EHLO"]
