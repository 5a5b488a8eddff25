"""What TLS has established, in lines: all that matters, escaped and bounded."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.core.certificate import PeerCertificate, TlsInfo
from cfcat.report.facts import days_left, describe_chain, describe_tls, vouched_for_by

unhurried = settings(deadline=None)  # a slow machine is no failure

LEAF = PeerCertificate(
    subject="CN=mail.example, O=Example",
    names=("mail.example", "192.0.2.7"),
    issuer="CN=Some CA",
    not_before="2026-01-02T00:00:00Z",
    not_after="2026-12-31T12:00:00Z",
    serial="0a0b",
    sha256="ab" * 32,
)
ROOT = dataclasses.replace(LEAF, subject="CN=Some CA", names=(), not_after="2036-01-01T00:00:00Z")
INFO = TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", None, "mail.example", True, (LEAF, ROOT))


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def test_tls() -> None:
    """Version and cipher, ALPN, the name that was expected, and who vouches for the certificate."""
    assert describe_tls(INFO) == [
        "TLSv1.3, TLS_AES_256_GCM_SHA384",
        "ALPN: none",
        "server name: mail.example",
        "certificate: verified, vouched for by CN=Some CA",
    ]


def test_tls_without_verification() -> None:
    """It is said, and nobody is named."""
    info = dataclasses.replace(INFO, verified=False, server_name=None)
    assert describe_tls(info)[2:] == ["server name: none", "certificate: not verified"]
    assert vouched_for_by(info) == ""
    assert describe_tls(dataclasses.replace(info, chain=()))[3] == "certificate: none"  # as most clients
    assert vouched_for_by(dataclasses.replace(INFO, chain=())) == ""


def test_sec_r8_a_list_that_the_peer_took_no_notice_of() -> None:
    """Offered, and nothing acknowledged: said."""
    assert describe_tls(INFO, ["h2", "smtp"])[1] == "ALPN: none; the peer acknowledged none of h2, smtp"
    assert describe_tls(dataclasses.replace(INFO, alpn="h2"), ["h2", "smtp"])[1] == "ALPN: h2"


def test_the_chain() -> None:
    """From the peer's own certificate up, all that is known of each."""
    assert describe_chain(INFO.chain, at("2026-12-01")) == [
        "0 subject: CN=mail.example, O=Example",
        "  names: mail.example, 192.0.2.7",
        "  issuer: CN=Some CA",
        "  valid: 2026-01-02 to 2026-12-31, 30 days left",
        "  serial: 0a0b",
        f"  sha256: {'ab' * 32}",
        "1 subject: CN=Some CA",
        "  names: none",
        "  issuer: CN=Some CA",
        "  valid: 2026-01-02 to 2036-01-01, 3318 days left",
        "  serial: 0a0b",
        f"  sha256: {'ab' * 32}",
    ]


@pytest.mark.parametrize(
    ("now", "left", "words"),
    [
        ("2026-12-30T12:00:00", 1, "1 day left"),
        ("2026-12-31T11:00:00", 0, "0 days left"),
        ("2026-12-31T13:00:00", -1, "expired 1 day ago"),
        ("2027-01-31T13:00:00", -32, "expired 32 days ago"),
        ("2026-01-01T00:00:00", 364, "not valid yet"),
    ],
)
def test_days_left(now: str, left: int, words: str) -> None:
    """Whole days, at midday of the last one."""
    assert days_left(LEAF, at(now)) == left
    assert describe_chain(INFO.chain, at(now))[3].endswith(f", {words}")


def test_dates_that_make_no_sense() -> None:
    """A certificate may say anything, when nobody checks it."""
    broken = dataclasses.replace(LEAF, not_before="", not_after="x")
    assert days_left(broken, 0) is None
    assert describe_chain((broken,), 0)[3] == "  valid:  to x, which makes no sense"


def test_no_certificate() -> None:
    """Ciphers without one exist."""
    assert describe_chain((), 0) == ["no certificate"]


texts = st.text(max_size=5000)


@unhurried
@given(
    st.builds(
        PeerCertificate, texts, st.lists(texts, max_size=50).map(tuple), texts, texts, texts, texts, st.just("ab")
    ),
    texts,
    st.integers(0, 100),
)
def test_row_77_hostile_certificates_are_escaped_and_bounded(
    certificate: PeerCertificate, name: str, count: int
) -> None:
    """SEC-R20: whatever it says, each line is printable; megabytes of names and a hundred certificates are cut."""
    info = TlsInfo("TLSv1.3", "x", name, name, True, (certificate,) * count)
    lines = describe_tls(info) + describe_chain(info.chain, 0)
    assert all(line.isprintable() for line in lines), lines
    assert len(lines) < 200
    assert max(map(len, lines)) < 20_000


def test_what_was_left_out_is_counted() -> None:
    """Nobody thinks that it was all."""
    flood = dataclasses.replace(LEAF, names=tuple(f"{number}.example" for number in range(30)))
    lines = describe_chain((flood,) * 25, 0)
    assert lines[1].endswith("19.example, 10 more")
    assert lines[-1] == "5 more certificates"
