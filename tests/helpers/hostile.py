"""A certificate as an attacker would have it: its texts move cursors, break lines and turn them round."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["HOSTILE", "HostileCertificate", "make_hostile"]

HOSTILE = "\x1b]0;pwn\x07\n\u202egood.example"
MANY = 300


@dataclass(frozen=True)
class HostileCertificate:
    """For localhost, self-signed: to trust it, pass `pem` as the authority."""

    pem: Path
    key: Path


def make_hostile(folder: Path) -> HostileCertificate:
    """Make a new one, with more names than anybody wants to read."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, HOSTILE),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "\u0085\u2066x"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.UniformResourceIdentifier("spiffe://x\x1b[2J")]
    names += [x509.DNSName(f"name{number}.example") for number in range(MANY)]
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0x1234)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10, hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = HostileCertificate(folder / "hostile.pem", folder / "hostile.key")
    files.pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
