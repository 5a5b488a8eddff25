"""Why a certificate is not trusted, in one sentence.

Pure. The sentence quotes the certificate, which is the peer's text: it must be escaped before it is shown (R20).
Source: OpenSSL's X509_V_ERR_… (x509_vfy.h); the dictionary is that of `ssl.SSLSocket.getpeercert()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["distrust"]

MAX_NAMES = 5
MAX_NAME_CHARACTERS = 80
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

NOT_YET_VALID, EXPIRED, NO_ISSUER, WRONG_HOST, WRONG_ADDRESS = 9, 10, 20, 62, 64
SENTENCES = {
    NOT_YET_VALID: "it is not valid yet",
    EXPIRED: "it has expired",
    18: "it is self-signed",
    19: "its chain ends in a self-signed certificate that is not known here",
    NO_ISSUER: "it was issued by an authority that is not known here",
    21: "its issuer is missing, and not known here",
    23: "it has been revoked",
    26: "it was not made for servers",
    WRONG_HOST: "it is for another name",
    WRONG_ADDRESS: "it is for another address",
    66: "its key is too small",
    67: "the key of its authority is too small",
    68: "it is signed with a hash that is too weak",
}


def distrust(code: int, openssl_text: str, certificate: Mapping[str, Any], host: str | None) -> str:
    """Say what is wrong: `code` is OpenSSL's, `certificate` the peer's own, decoded (empty where it is not known)."""
    if code == EXPIRED and (day := _day(certificate.get("notAfter"))):
        return f"it expired on {day}"
    if code == NOT_YET_VALID and (day := _day(certificate.get("notBefore"))):
        return f"it is not valid before {day}"
    if code in (WRONG_HOST, WRONG_ADDRESS) and certificate:
        names = list(_names(certificate))
        if not names:
            return "it names no host: there is no subject alternative name, and its subject does not count"
        more = ", ..." if len(names) > MAX_NAMES else ""
        return f"it is for {', '.join(names[:MAX_NAMES])}{more}, not {host}"
    if code == NO_ISSUER and (issuer := _common_name(certificate.get("issuer", ()))):
        return f"it was issued by {issuer}, which is not known here"
    return SENTENCES.get(code, openssl_text)


def _day(time: object) -> str:
    """`Jan  2 00:00:00 2020 GMT` as 2020-01-02."""
    words = str(time).split()
    if len(words) != 5 or words[0] not in MONTHS:
        return ""
    return f"{words[3]}-{MONTHS.index(words[0]) + 1:02}-{words[1]:0>2}"


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in ("DNS", "IP Address"):
            yield _short(name)


def _common_name(name: Any) -> str:
    """The most telling part of a distinguished name: the common name, else the unit or the organization."""
    parts = {key: value for group in name for key, value in group}
    for key in ("commonName", "organizationalUnitName", "organizationName"):
        if key in parts:
            return f"'{_short(parts[key])}'"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= MAX_NAME_CHARACTERS else text[:MAX_NAME_CHARACTERS] + "..."
