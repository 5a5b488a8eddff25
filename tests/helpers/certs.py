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
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["KEY_PASSWORD", "CertSet", "Certificate", "ClientCertificate", "Kind", "make_certs"]

Kind = Literal[
    "good",
    "chain",
    "wrong_host",
    "untrusted",
    "expired",
    "not_yet",
    "self_signed",
    "cn_only",
    "revoked",
    "incomplete",
    "client_purpose",
    "weak",
]

NAMES = ("localhost", "127.0.0.1", "::1")
WRONG_NAME = "other.test"
# Fixed days: a message that tells the date can then be compared to the letter.
EXPIRED_FROM = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
EXPIRED_ON = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
NOT_YET_FROM = datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)
NOT_YET_TO = datetime.datetime(2040, 1, 2, tzinfo=datetime.UTC)
KEY_PASSWORD = "password"

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Certificate:
    """One server certificate on disk; `pem` is the chain and the key in one file."""

    kind: Kind
    chain: Path
    key: Path
    pem: Path


@dataclass(frozen=True)
class ClientCertificate:
    """A client's certificate, CN=client, from the CA; `encrypted_key` is its key under KEY_PASSWORD.

    For one that a server must refuse take a server's: "untrusted" and "expired" may be a client's as well.
    """

    chain: Path
    key: Path
    pem: Path
    encrypted_key: Path


@dataclass(frozen=True)
class CertSet:
    """Every kind of certificate, and the CA (`ca`, for --cacert) that issued all but two of them.

    good            localhost, 127.0.0.1, ::1
    chain           as good, issued by an intermediate CA that comes with it
    wrong_host      other.test only
    untrusted       as good, issued by another CA
    expired         as good, valid for one day, 2020-01-01
    not_yet         as good, valid for one day, 2040-01-01
    self_signed     as good, its own issuer
    cn_only         CN=localhost and no subjectAltName
    revoked         as good, listed in `crl`, the CA's revocation list
    incomplete      as chain, the intermediate CA's certificate left out
    client_purpose  as good, for TLS clients only
    weak            as good, with an RSA key of 1024 bits
    """

    ca: Path
    crl: Path
    by_kind: Mapping[Kind, Certificate]
    client: ClientCertificate

    def __getitem__(self, kind: Kind) -> Certificate:
        return self.by_kind[kind]

    def server_context(self, kind: Kind = "good", version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a new server context that presents `kind` and speaks `version` only, if one is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if kind == "weak":
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # as a default, OpenSSL does not even load it
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
    chained, chained_key = _issued(ca.create_child_ca().issue_cert(*NAMES))
    leaves: dict[Kind, tuple[bytes, bytes]] = {
        "good": _issued(ca.issue_cert(*NAMES)),
        "chain": (chained, chained_key),
        "wrong_host": _issued(ca.issue_cert(WRONG_NAME)),
        "untrusted": _issued(trustme.CA().issue_cert(*NAMES)),
        "expired": _issued(ca.issue_cert(*NAMES, not_before=EXPIRED_FROM, not_after=EXPIRED_ON)),
        "not_yet": _issued(ca.issue_cert(*NAMES, not_before=NOT_YET_FROM, not_after=NOT_YET_TO)),
        "self_signed": _self_signed(),
        "cn_only": _hand_made(ca, named=False),
        "revoked": _issued(ca.issue_cert(*NAMES)),
        "incomplete": (_first(chained), chained_key),
        "client_purpose": _hand_made(ca, purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
        # The least that "cryptography" makes; clients want 2048 bits.
        "weak": _hand_made(ca, rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    }
    assert set(leaves) == set(get_args(Kind))
    ca_file, crl_file = folder / "ca.pem", folder / "crl.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    crl_file.write_bytes(_revocation_list(ca, leaves["revoked"][0]))
    servers = {kind: Certificate(kind, *_write(folder, kind, *pair)) for kind, pair in leaves.items()}
    return CertSet(ca_file, crl_file, servers, _client(folder, ca))


def _prepare(context: ssl.SSLContext, version: ssl.TLSVersion | None) -> None:
    # Python before 3.11.4 sets this with OpenSSL 3, and then a truncated stream looks like an orderly end.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if version is not None:
        context.minimum_version = context.maximum_version = version


def _write(folder: Path, name: str, chain: bytes, key: bytes) -> tuple[Path, Path, Path]:
    """Write the chain, the key, and both in one file; return the three paths."""
    files = {"crt": chain, "key": key, "pem": chain + key}
    paths = [folder / f"{name}.{suffix}" for suffix in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    return paths[0], paths[1], paths[2]


def _client(folder: Path, ca: trustme.CA) -> ClientCertificate:
    chain, key = _issued(ca.issue_cert("client@localhost", common_name="client"))
    encrypted = serialization.load_pem_private_key(key, password=None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(KEY_PASSWORD.encode()),
    )
    encrypted_key = folder / "client-encrypted.key"
    encrypted_key.write_bytes(encrypted)
    return ClientCertificate(*_write(folder, "client", chain, key), encrypted_key)


def _issued(leaf: trustme.LeafCert) -> tuple[bytes, bytes]:
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return chain, leaf.private_key_pem.bytes()


def _first(chain: bytes) -> bytes:
    return x509.load_pem_x509_certificate(chain).public_bytes(serialization.Encoding.PEM)


# trustme puts every name into subjectAltName, allows servers and clients alike, and always signs with its CA;
# what is different below needs cryptography itself.


def _hand_made(
    ca: trustme.CA,
    key: _PrivateKey | None = None,
    *,
    named: bool = True,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> tuple[bytes, bytes]:
    issuer, issuer_key = _opened(ca)
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = _leaf(key, issuer.subject, issuer_key.public_key(), purpose)
    if named:
        builder = builder.add_extension(_names(), critical=True)
    return _signed(builder, issuer_key), _pem(key)


def _self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _leaf(key, _common_name("localhost"), key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH)
    return _signed(builder.add_extension(_names(), critical=True), key), _pem(key)


def _revocation_list(ca: trustme.CA, revoked: bytes) -> bytes:
    issuer, issuer_key = _opened(ca)
    now = datetime.datetime.now(datetime.UTC)
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(x509.load_pem_x509_certificate(revoked).serial_number)
        .revocation_date(now - datetime.timedelta(days=1))
        .build()
    )
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - datetime.timedelta(days=1))
        .next_update(now + datetime.timedelta(days=30))
        .add_revoked_certificate(entry)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _opened(ca: trustme.CA) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = serialization.load_pem_private_key(ca.private_key_pem.bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(ca.cert_pem.bytes()), key


def _names() -> x509.SubjectAlternativeName:
    # Copied from a trustme certificate: the form is then that of "good".
    model = x509.load_pem_x509_certificate(trustme.CA().issue_cert(*NAMES).cert_chain_pems[0].bytes())
    return model.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _leaf(
    key: _PrivateKey, issuer: x509.Name, issuer_key: ec.EllipticCurvePublicKey, purpose: x509.ObjectIdentifier
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
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem(key: _PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
