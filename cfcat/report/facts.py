"""What TLS has established, in lines for a person: `-v`, `:tls`, `:cert`.

Every word that a certificate says is escaped (SEC-R20), and long lists are cut: a certificate may hold thousands of
names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cfcat.core.certificate import PeerCertificate, TlsInfo
from cfcat.record.words import plural
from cfcat.report.render import escape

__all__ = ["days_left", "describe_certificate", "describe_chain", "describe_tls", "vouched_for_by"]

DAY_S = 86400
MAX_NAMES = 20
MAX_TEXT = 400
MAX_CERTIFICATES = 20


def describe_tls(info: TlsInfo, offered: Sequence[str] = ()) -> list[str]:
    """Version and cipher, ALPN, server name and trust, a line each; `offered` are the ALPN protocols we offered."""
    return [
        f"{info.version}, {info.cipher}",
        f"ALPN: {_alpn(info, offered)}",
        f"server name: {_short(info.server_name) if info.server_name else 'none'}",
        f"certificate: {_trust(info)}",
    ]


def describe_chain(chain: Sequence[PeerCertificate], now_s: float) -> list[str]:
    """Each certificate, from the peer's own up: subject, names, issuer, dates, serial number, SHA-256.

    `now_s`: seconds since 1970, for the days that are left.
    """
    lines: list[str] = []
    for number, certificate in enumerate(chain[:MAX_CERTIFICATES]):
        first, *others = describe_certificate(certificate, now_s)
        lines += [f"{number} {first}", *(f"  {line}" for line in others)]
    if (more := len(chain) - MAX_CERTIFICATES) > 0:
        lines.append(f"{more} more certificates")
    return lines or ["no certificate"]


def describe_certificate(certificate: PeerCertificate, now_s: float) -> list[str]:
    """One certificate, a line for each thing that it says."""
    names = ", ".join(map(_short, certificate.names[:MAX_NAMES])) or "none"
    more = len(certificate.names) - MAX_NAMES
    return [
        f"subject: {_short(certificate.subject) or 'none'}",
        f"names: {names}{f', {more} more' if more > 0 else ''}",
        f"issuer: {_short(certificate.issuer) or 'none'}",
        f"valid: {_day(certificate.not_before)} to {_day(certificate.not_after)}, {_validity(certificate, now_s)}",
        f"serial: {_short(certificate.serial)}",
        f"sha256: {certificate.sha256}",
    ]


def days_left(certificate: PeerCertificate, now_s: float) -> int | None:
    """Whole days until it expires, negative after that; None where its date makes no sense."""
    end_s = _seconds(certificate.not_after)
    return None if end_s is None else int((end_s - now_s) // DAY_S)


def vouched_for_by(info: TlsInfo) -> str:
    """The authority at the end of the chain that was verified, escaped; "" where nothing was."""
    return _short(info.chain[-1].subject) if info.verified and info.chain else ""


def _alpn(info: TlsInfo, offered: Sequence[str]) -> str:
    if info.alpn is not None:
        return escape(info.alpn)
    # SEC-R8: a peer that takes no notice may have been meant for another protocol.
    return f"none; the peer acknowledged none of {', '.join(offered)}" if offered else "none"


def _trust(info: TlsInfo) -> str:
    if not info.verified:
        return "not verified" if info.chain else "none"
    return f"verified, vouched for by {vouched_for_by(info)}"


def _validity(certificate: PeerCertificate, now_s: float) -> str:
    begin_s, left = _seconds(certificate.not_before), days_left(certificate, now_s)
    if left is None:
        return "which makes no sense"
    if begin_s is not None and now_s < begin_s:
        return "not valid yet"
    return f"{plural(left, 'day')} left" if left >= 0 else f"expired {plural(-left, 'day')} ago"


def _day(time: str) -> str:
    return escape(time[: len("2026-01-02")])


def _seconds(time: str) -> float | None:
    """`2026-01-02T03:04:05Z` in seconds since 1970."""
    try:
        return datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _short(text: str) -> str:
    shown = escape(text)
    return shown if len(shown) <= MAX_TEXT else shown[:MAX_TEXT] + "..."
