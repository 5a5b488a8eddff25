"""A throw-away CA and the certificates that tests present: one good, the others wrong in one way each."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["CertSet", "Certificate", "Kind", "make_certs"]

Kind = Literal["good", "wrong_host", "untrusted", "expired", "self_signed", "cn_only"]

NAMES = ("localhost", "127.0.0.1", "::1")
WRONG_NAME = "other.test"
# A fixed day: a message that tells the date can then be compared to the letter.
EXPIRED_FROM = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
EXPIRED_ON = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Certificate:
    """One server certificate on disk; `pem` is the chain and the key in one file."""

    kind: Kind
    chain: Path
    key: Path
    pem: Path


@dataclass(frozen=True)
class CertSet:
    """Every kind of certificate, and the CA (`ca`, for --cacert) that issued all but two of them.

    good         localhost, 127.0.0.1, ::1
    wrong_host   other.test only
    untrusted    as good, issued by another CA
    expired      as good, valid for one day, 2020-01-01
    self_signed  as good, its own issuer
    cn_only      CN=localhost and no subjectAltName
    """

    ca: Path
    by_kind: Mapping[Kind, Certificate]

    def __getitem__(self, kind: Kind) -> Certificate:
        return self.by_kind[kind]

    def server_context(self, kind: Kind = "good", version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a new server context that presents `kind` and speaks `version` only, if one is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self[kind].chain, self[kind].key)
        _prepare(context, version)
        return context

    def client_context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a new client context that trusts the CA, and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        _prepare(context, version)
        return context


def make_certs(folder: Path) -> CertSet:
    """Make a new CA and one certificate of each kind, with all files in `folder`."""
    ca = trustme.CA()
    leaves: dict[Kind, tuple[bytes, bytes]] = {
        "good": _issued(ca.issue_cert(*NAMES)),
        "wrong_host": _issued(ca.issue_cert(WRONG_NAME)),
        "untrusted": _issued(trustme.CA().issue_cert(*NAMES)),
        "expired": _issued(ca.issue_cert(*NAMES, not_before=EXPIRED_FROM, not_after=EXPIRED_ON)),
        "self_signed": _self_signed(),
        "cn_only": _cn_only(ca),
    }
    assert set(leaves) == set(get_args(Kind))
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    return CertSet(ca_file, {kind: _write(folder, kind, *pair) for kind, pair in leaves.items()})


def _prepare(context: ssl.SSLContext, version: ssl.TLSVersion | None) -> None:
    # Python before 3.11.4 sets this with OpenSSL 3, and then a truncated stream looks like an orderly end.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if version is not None:
        context.minimum_version = context.maximum_version = version


def _write(folder: Path, kind: Kind, chain: bytes, key: bytes) -> Certificate:
    files = {"crt": chain, "key": key, "pem": chain + key}
    paths = {suffix: folder / f"{kind}.{suffix}" for suffix in files}
    for suffix, content in files.items():
        paths[suffix].write_bytes(content)
    return Certificate(kind, paths["crt"], paths["key"], paths["pem"])


def _issued(leaf: trustme.LeafCert) -> tuple[bytes, bytes]:
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return chain, leaf.private_key_pem.bytes()


# trustme puts every name into subjectAltName and always signs with its CA; the two kinds below need
# cryptography itself.


def _cn_only(ca: trustme.CA) -> tuple[bytes, bytes]:
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    issuer_key = serialization.load_pem_private_key(ca.private_key_pem.bytes(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    return _signed(_leaf(key, issuer.subject, issuer_key.public_key()), issuer_key), _pem(key)


def _self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    # The names are copied from a trustme certificate: their form is then that of "good".
    model = x509.load_pem_x509_certificate(trustme.CA().issue_cert(*NAMES).cert_chain_pems[0].bytes())
    names = model.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    builder = _leaf(key, _common_name("localhost"), key.public_key()).add_extension(names, critical=True)
    return _signed(builder, key), _pem(key)


def _leaf(
    key: ec.EllipticCurvePrivateKey, issuer: x509.Name, issuer_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name("localhost"))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
