"""What a certificate says, and why it is not trusted, in one sentence.

Pure. All of it is the peer's text: it must be escaped before it is shown (SEC-R20).
Source: OpenSSL's X509_V_ERR_… (x509_vfy.h); the dictionary is that of `ssl.SSLSocket.getpeercert()`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["PeerCertificate", "TlsInfo", "distrust", "read_certificate"]

MAX_NAMES = 5
MAX_NAME_CHARACTERS = 80
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

NOT_YET_VALID, EXPIRED, NO_ISSUER, WRONG_HOST, WRONG_ADDRESS = 9, 10, 20, 62, 64
SENTENCES = {  # the codes of OpenSSL 3.x for chains, CRLs, OCSP and DANE
    1: "OpenSSL does not say why",
    2: "the certificate of its issuer's issuer is missing, and not known here",
    3: "no list of revoked certificates is known for it",
    4: "its signature cannot be read",
    5: "the signature of the list of revoked certificates cannot be read",
    6: "the key of its issuer cannot be read",
    7: "its signature is wrong",
    8: "the signature of the list of revoked certificates is wrong",
    NOT_YET_VALID: "it is not valid yet",
    EXPIRED: "it has expired",
    11: "the list of revoked certificates is not valid yet",
    12: "the list of revoked certificates has expired",
    13: "the date from which it is valid makes no sense",
    14: "the date until which it is valid makes no sense",
    15: "the date of the list of revoked certificates makes no sense",
    16: "the date of the next list of revoked certificates makes no sense",
    17: "there was no memory left to check it",
    18: "it is self-signed",
    19: "its chain ends in a self-signed certificate that is not known here",
    NO_ISSUER: "it was issued by an authority that is not known here",
    21: "its issuer is missing, and not known here",
    22: "its chain is too long",
    23: "it has been revoked",
    24: "its issuer has no key",
    25: "its chain is longer than an authority in it allows",
    26: "it was not made for servers",
    27: "its authority is not trusted for servers",
    28: "its authority is marked as not to be trusted",
    29: "it names another issuer than the certificate that came with it",
    30: "it names another key of its issuer than the certificate that came with it has",
    31: "it names another serial number of its issuer than the certificate that came with it has",
    32: "its issuer's key is not made for signing certificates",
    33: "the issuer of the list of revoked certificates is not known here",
    34: "it has a critical extension that is not known here",
    35: "its issuer's key is not made for signing lists of revoked certificates",
    36: "the list of revoked certificates has a critical extension that is not known here",
    37: "a certificate that is no authority is used as one",
    38: "its chain of proxies is longer than one of them allows",
    39: "its key is not made for signing",
    40: "it is a proxy certificate, which is not accepted",
    41: "one of its extensions makes no sense",
    42: "its policies make no sense",
    43: "no policy is valid for all of its chain",
    44: "the list of revoked certificates does not cover it",
    45: "it has an extension with a feature that is not known here",
    46: "it has number resources that its issuer does not have",
    47: "it has a name for which its authority may not issue",
    48: "it has a name for which its authority may not issue",
    49: "an authority limits names in a way that is not known here",
    50: "an application's own check refused it",
    51: "an authority limits a kind of name that is not known here",
    52: "an authority limits names in words that make no sense",
    53: "it has a name that makes no sense",
    54: "the list of revoked certificates cannot be verified",
    55: "its chain goes round in a circle",
    56: "its version is not allowed with Suite B",
    57: "its kind of key is not allowed with Suite B",
    58: "its curve is not allowed with Suite B",
    59: "the kind of its signature is not allowed with Suite B",
    60: "its level of security is not allowed with Suite B",
    61: "a key of P-256 signed one of P-384, which Suite B does not allow",
    WRONG_HOST: "it is for another name",
    63: "it is for another mail address",
    WRONG_ADDRESS: "it is for another address",
    65: "no DANE record matches it",
    66: "its key is too small",
    67: "the key of its authority is too small",
    68: "it is signed with a hash that is too weak",
    69: "it was checked in a way that OpenSSL does not allow",
    70: "the authorities that are trusted could not be searched",
    71: "no certificate transparency log vouches for it",
    72: "it is a proxy certificate, and its name is not its issuer's name plus one part",
    73: "an OCSP answer is missing",
    74: "its OCSP answer cannot be verified",
    75: "the OCSP responder does not know it",
    76: "the kind of its signature is not known here",
    77: "the kind of its signature is not that of its issuer's key",
    78: "it names two kinds of signature",
    79: "it was issued by a certificate that may not issue any",
    80: "it limits the length of a chain, but is no authority",
    81: "it limits the length of a chain, but its key is not made for signing certificates",
    82: "its key is made for signing certificates, but it is no authority",
    83: "it names no issuer",
    84: "it names no subject",
    85: "it does not name the key of its issuer",
    86: "it does not name its own key",
    87: "its list of names is empty",
    88: "its subject is empty, and its names are not marked as critical",
    89: "an authority in its chain does not mark as critical that it is one",
    90: "the key of its issuer is marked as critical, which is not allowed",
    91: "its subject key identifier is marked as critical, which is not allowed",
    92: "an authority in its chain does not say what its key is for",
    93: "it has extensions, which only version 3 has",
    94: "the parameters of its curve are written out, which is not taken",
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
    `server_name`: the name or address that was expected, None where none was; on an accepted connection the one that
    the client has asked for (SNI), which nobody has checked. `verified`: was the certificate checked,
    the name included? `chain`: from the peer's own certificate up to the trusted authority, if the chain was verified.
    """

    version: str
    cipher: str
    alpn: str | None
    server_name: str | None
    verified: bool
    chain: tuple[PeerCertificate, ...]


def read_certificate(certificate: Mapping[str, Any], der: bytes) -> PeerCertificate:
    """A certificate from its dictionary and its bytes."""
    from hashlib import sha256  # lazy: only needed when a certificate is shown

    return PeerCertificate(
        subject=_distinguished_name(certificate.get("subject", ())),
        names=tuple(_alternative_name(kind, value) for kind, value in certificate.get("subjectAltName", ())),
        issuer=_distinguished_name(certificate.get("issuer", ())),
        not_before=_time(certificate.get("notBefore")),
        not_after=_time(certificate.get("notAfter")),
        serial=str(certificate.get("serialNumber", "")).lower(),
        sha256=sha256(der).hexdigest(),
    )


RESERVED = re.compile(r'[",+;<>\\]')


def _distinguished_name(name: Any) -> str:
    """Its parts with commas between them; what would be taken for a part of its own is quoted (RFC 4514 §2.4)."""
    return ", ".join(f"{SHORT_NAMES.get(key, key)}={_quoted(value)}" for group in name for key, value in group)


def _quoted(value: str) -> str:
    value = RESERVED.sub(r"\\\g<0>", value)
    if value[:1] in (" ", "#"):
        value = "\\" + value
    return f"{value[:-1]}\\ " if value.endswith(" ") and not value.endswith("\\ ") else value


def _alternative_name(kind: str, value: Any) -> str:
    if not isinstance(value, str):  # DirName is a distinguished name
        value = _distinguished_name(value)
    return _plain(kind, value) if kind in PLAIN_NAMES else f"{kind}:{value}"


def _plain(kind: str, value: str) -> str:
    """A host name as it is, an address in its usual form: OpenSSL writes `::1` as `0:0:0:0:0:0:0:1`."""
    if kind != "IP Address" or ":" not in value:
        return value
    from ipaddress import ip_address  # lazy: few certificates have an IPv6 address

    try:
        return str(ip_address(value.strip()))
    except ValueError:  # an address of another length, "<invalid>"
        return value


def distrust(code: int, openssl_text: str, chain: Sequence[Mapping[str, Any]], host: str | None) -> str:
    """Say what is wrong: `code` is OpenSSL's.

    `chain`: the peer's own certificate, decoded, then those of its issuers that were found; empty where it is
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
    return SENTENCES.get(code, openssl_text)  # OpenSSL may have learned a new fault


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
    text = f"it is for {', '.join(names[:MAX_NAMES])}{more}, not {host}"
    if code == WRONG_HOST and host is not None and any(_would_match(name, host) for name in names):
        return f"{text}: a wildcard matches letters, digits and hyphens only"
    return text


def _would_match(name: str, host: str) -> bool:
    """Would this wildcard match if the host's first label had no unusual character, such as an underscore?"""
    label, _, domain = host.rstrip(".").lower().partition(".")
    return bool(label) and name.lower() == f"*.{domain}" and not re.fullmatch(r"[a-z0-9-]+", label)


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
            yield _short(_plain(kind, name))


def _common_name(name: Any) -> str:
    """The most telling part of a distinguished name: the common name, else the unit or the organization."""
    parts = {key: value for group in name for key, value in group}
    for key in ("commonName", "organizationalUnitName", "organizationName"):
        if key in parts:
            return f"'{_short(parts[key])}'"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= MAX_NAME_CHARACTERS else text[:MAX_NAME_CHARACTERS] + "..."
