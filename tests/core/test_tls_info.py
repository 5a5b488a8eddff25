"""What a socket tells of its TLS, after real handshakes."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cfcat import TlsError, connect, make_tls_context
from cfcat.core.certificate import TlsInfo, read_certificate
from tests.helpers.aio import run
from tests.helpers.certs import CertSet
from tests.helpers.hostile import HOSTILE, MANY, make_hostile
from tests.helpers.links import Link
from tests.helpers.peers import Peer, serve

NAMES = {"localhost", "127.0.0.1"}


def info_from(context: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> TlsInfo:
    """What is known after a handshake with a server that ends at once."""

    async def connected() -> TlsInfo:
        async with connect(f"{host}:{server.port}", secure_transport="on", tls=client) as socket:
            await socket.opened
            info = socket.tls_info
        assert info is not None
        assert socket.tls_info == info  # it is still known when the socket has ended
        return info

    with serve(lambda conn: conn.start_tls(context)) as server:
        return run(connected())


def test_every_kind_of_socket(link: Link) -> None:
    """Nothing in clear text and before the handshake; version, cipher, name and certificates after it."""

    def script(conn: Peer) -> None:
        conn.recv_until_eof()

    async def connected() -> TlsInfo | None:
        socket = await link.connect(server)
        assert socket.tls_info is None
        await socket.opened
        info = socket.tls_info
        await socket.close()
        return info

    with link.serve(script) as server:
        info = run(connected())
    if not link.tls:
        assert info is None
        return
    assert info is not None
    assert info.version == ("TLSv1.2" if link.kind.endswith("12") else "TLSv1.3")
    assert info.cipher
    assert info.server_name == "127.0.0.1"
    assert info.verified
    assert info.alpn is None
    leaf, root = info.chain
    assert set(leaf.names) >= NAMES
    assert leaf.issuer == root.subject == root.issuer


def test_a_handshake_that_failed_tells_nothing(certs: CertSet) -> None:
    """SEC-R11: what is not verified is not told."""

    async def connected() -> None:
        socket = connect(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        with pytest.raises(TlsError):
            await socket.opened
        assert socket.tls_info is None

    with serve(lambda conn: conn.start_tls(certs.server_context("expired"), may_fail=True)) as server:
        run(connected())


def test_the_certificates_as_another_program_reads_them(certs: CertSet) -> None:
    """The whole verified chain, its last certificate from our own file; each field as `cryptography` has it."""
    info = info_from(certs.server_context("chain"), make_tls_context(cacert=certs.ca))
    files = x509.load_pem_x509_certificates(certs["chain"].chain.read_bytes())
    files.append(x509.load_pem_x509_certificate(certs.ca.read_bytes()))
    assert len(info.chain) == len(files) == 3
    for told, real in zip(info.chain, files, strict=True):
        assert told.sha256 == real.fingerprint(hashes.SHA256()).hex()
        assert int(told.serial, 16) == real.serial_number
        for text, time in ((told.not_before, real.not_valid_before_utc), (told.not_after, real.not_valid_after_utc)):
            assert datetime.datetime.fromisoformat(text) == time
        assert sorted(told.subject.split(", ")) == sorted(real.subject.rfc4514_string().split(","))


def test_without_verification(certs: CertSet) -> None:
    """With -k the certificates are those that the peer showed, and nobody vouches for them."""
    info = info_from(certs.server_context("self_signed"), make_tls_context(insecure=True))
    assert not info.verified
    (certificate,) = info.chain
    assert certificate.subject == certificate.issuer == "CN=localhost"


def test_without_the_name(certs: CertSet) -> None:
    """A context of the caller's that does not look at the name: that is not verified."""
    context = make_tls_context(cacert=certs.ca)
    context.check_hostname = False
    info = info_from(certs.server_context("wrong_host"), context)
    assert not info.verified
    assert [certificate.names for certificate in info.chain] == [("other.test",)]


def test_alpn(certs: CertSet) -> None:
    """What the server chose."""
    server = certs.server_context()
    server.set_alpn_protocols(["h2"])
    assert info_from(server, make_tls_context(cacert=certs.ca, alpn=["http/1.1", "h2"])).alpn == "h2"


def test_row_77_hostile_texts_are_told_as_they_are(tmp_path: Path) -> None:
    """The facts are exact, with what separates their parts quoted; the code that shows them escapes them."""
    files = make_hostile(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.pem, files.key)
    info = info_from(context, make_tls_context(cacert=files.pem))
    assert info.verified
    (certificate,) = info.chain
    quoted = HOSTILE.replace(";", "\\;")
    assert certificate.subject == f"CN={quoted}, O=\u0085\u2066x"
    assert certificate.names[:2] == ("localhost", "URI:spiffe://x\x1b[2J")
    assert len(certificate.names) == MANY + 2
    assert certificate.serial == "1234"


def test_a_certificate_that_makes_no_sense() -> None:
    """Nothing is missing but what cannot be known."""
    certificate = read_certificate({}, b"abc")
    assert certificate.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert (certificate.subject, certificate.names, certificate.not_after, certificate.serial) == ("", (), "", "")


def test_names_of_every_kind() -> None:
    """Hosts and addresses as they are, others with their kind; a directory name is a list of names."""
    alternatives = (
        ("DNS", "a.example"),
        ("IP Address", "192.0.2.7"),
        ("email", "a@b.example"),
        ("DirName", ((("commonName", "x"),), (("unknownName", "y"),))),
    )
    certificate = read_certificate({"subjectAltName": alternatives}, b"")
    assert certificate.names == ("a.example", "192.0.2.7", "email:a@b.example", "DirName:CN=x, unknownName=y")
