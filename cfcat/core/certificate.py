"""What a certificate says, and why it is not trusted, in one sentence.

Pure. All of it is the peer's text: it must be escaped before it is shown (R20).
Source: OpenSSL's X509_V_ERR_… (x509_vfy.h); the dictionary is that of `ssl.SSLSocket.getpeercert()`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["PeerCertificate", "TlsInfo", "distrust", "read_certificate"]

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
    22: "its chain is too long",
    23: "it has been revoked",
    26: "it was not made for servers",
    47: "it has a name for which its authority may not issue",
    48: "it has a name for which its authority may not issue",
    WRONG_HOST: "it is for another name",
    WRONG_ADDRESS: "it is for another address",
    66: "its key is too small",
    67: "the key of its authority is too small",
    68: "it is signed with a hash that is too weak",
    79: "it was issued by a certificate that may not issue any",
}

SHORT_NAMES = {  # RFC 4514 §3
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
PLAIN_NAMES = ("DNS", "IP Address")


@dataclasses.dataclass(frozen=True, slots=True)
class PeerCertificate:
    """One certificate of a chain, as it describes itself.

    `subject` and `issuer`: `CN=mail.example, O=Example`. `names`: what it is for, host names and addresses as they
    are, others with their kind (`URI:…`). Dates as `2026-01-02T03:04:05Z`, "" where they make no sense; `serial` and
    `sha256` (of the whole certificate) in hexadecimal.
    """

    subject: str
    names: tuple[str, ...]
    issuer: str
    not_before: str
    not_after: str
    serial: str
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class TlsInfo:
    """What a handshake came to.

    `version`: "TLSv1.3"; `cipher`: OpenSSL's name; `alpn`: what the peer chose of the protocols offered, or None;
    `server_name`: the name or address that was expected, None where none was; `verified`: was the certificate checked,
    the name included? `chain`: from the peer's own certificate up, to who vouches for it where it was verified.
    """

    version: str
    cipher: str
    alpn: str | None
    server_name: str | None
    verified: bool
    chain: tuple[PeerCertificate, ...]


def read_certificate(certificate: Mapping[str, Any], der: bytes) -> PeerCertificate:
    """A certificate from its dictionary and its bytes."""
    from hashlib import sha256  # lazy: only for who wants to see it

    return PeerCertificate(
        subject=_distinguished_name(certificate.get("subject", ())),
        names=tuple(_alternative_name(kind, value) for kind, value in certificate.get("subjectAltName", ())),
        issuer=_distinguished_name(certificate.get("issuer", ())),
        not_before=_time(certificate.get("notBefore")),
        not_after=_time(certificate.get("notAfter")),
        serial=str(certificate.get("serialNumber", "")).lower(),
        sha256=sha256(der).hexdigest(),
    )


def _distinguished_name(name: Any) -> str:
    return ", ".join(f"{SHORT_NAMES.get(key, key)}={value}" for group in name for key, value in group)


def _alternative_name(kind: str, value: Any) -> str:
    if not isinstance(value, str):  # DirName is a distinguished name
        value = _distinguished_name(value)
    return value if kind in PLAIN_NAMES else f"{kind}:{value}"


def distrust(code: int, openssl_text: str, chain: Sequence[Mapping[str, Any]], host: str | None) -> str:
    """Say what is wrong: `code` is OpenSSL's.

    `chain`: the peer's own certificate, decoded, then what was found of those that vouch for it; empty where it is
    not known.
    """
    if code == EXPIRED and (day := min(filter(None, (_day(each.get("notAfter")) for each in chain)), default="")):
        return f"{_whose(chain, 'notAfter', day)} expired on {day}"
    if code == NOT_YET_VALID and (day := max((_day(each.get("notBefore")) for each in chain), default="")):
        return f"{_whose(chain, 'notBefore', day)} is not valid before {day}"
    if code in (WRONG_HOST, WRONG_ADDRESS) and chain and chain[0]:
        return _wrong_name(code, list(_names(chain[0])), host)
    if code == NO_ISSUER and chain and (issuer := _common_name(chain[-1].get("issuer", ()))):
        whose = "it" if len(chain) == 1 else f"its authority {_common_name(chain[-1].get('subject', ()))}"
        return f"{whose} was issued by {issuer}, which is not known here"
    return SENTENCES.get(code, openssl_text)


def _whose(chain: Sequence[Mapping[str, Any]], date: str, day: str) -> str:
    """Who in the chain has that date."""
    holder = next(each for each in chain if _day(each.get(date)) == day)
    return "it" if holder is chain[0] else f"its authority {_common_name(holder.get('subject', ()))}"


def _wrong_name(code: int, names: list[str], host: str | None) -> str:
    if not names:
        return "it names no host: there is no subject alternative name, and its subject does not count"
    if code == WRONG_ADDRESS and host in names:
        return f"it has {host} as a host name, which does not count for an address"
    more = ", ..." if len(names) > MAX_NAMES else ""
    return f"it is for {', '.join(names[:MAX_NAMES])}{more}, not {host}"


def _day(time: object) -> str:
    return _time(time)[:10]


def _time(time: object) -> str:
    """`Jan  2 03:04:05 2020 GMT` as 2020-01-02T03:04:05Z."""
    words = str(time).split()
    if len(words) != 5 or words[0] not in MONTHS:
        return ""
    return f"{words[3]:0>4}-{MONTHS.index(words[0]) + 1:02}-{words[1]:0>2}T{words[2]}Z"


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in PLAIN_NAMES:
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
