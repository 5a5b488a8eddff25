"""Certificates that are odd in ways `tests.helpers.certs` is not: chains, names and extensions made by hand.

root = issue("Odd CA", ca=True)
leaf = issue("localhost", root, names=[x509.DNSName("*.example.test")])
context = presenting(tmp_path, leaf)        # a server's
cacert = write(tmp_path / "ca.pem", root)
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["GOOD_NAMES", "Issued", "day", "issue", "presenting", "write"]

GOOD_NAMES: tuple[x509.GeneralName, ...] = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
)
SIGNING = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def day(text: str) -> datetime.datetime:
    """The first moment of a day, such as 2020-01-01."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def issue(
    subject: str,
    issuer: Issued | None = None,
    *,
    ca: bool = False,
    names: Iterable[x509.GeneralName] = (),
    dates: tuple[str, str] = ("2020-01-01", "2040-01-01"),
    also: Iterable[x509.ExtensionType] = (),
) -> Issued:
    """Make a certificate, signed by `issuer` or by itself; `also` are critical extensions to add."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    signer = issuer or Issued(None, key)  # type: ignore[arg-type]
    public = signer.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.cert.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(day(dates[0]))
        .not_valid_after(day(dates[1]))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if names := list(names):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    for extension in (*also, *([SIGNING] if ca else [])):
        builder = builder.add_extension(extension, critical=True)
    return Issued(builder.sign(signer.key, hashes.SHA256()), key)


def write(path: Path, *certificates: Issued) -> Path:
    """Write these certificates into a file, in this order."""
    path.write_bytes(b"".join(each.cert.public_bytes(Encoding.PEM) for each in certificates))
    return path


def presenting(folder: Path, leaf: Issued, *chain: Issued) -> ssl.SSLContext:
    """A server context that presents the leaf with this chain, whatever is wrong with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    key = folder / "key.pem"
    key.write_bytes(leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context.load_cert_chain(write(folder / "chain.pem", leaf, *chain), key)
    return context
