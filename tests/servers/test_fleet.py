"""Each daemon, in each variant, must do what the tests of the package rely on, as Python's `ssl` sees it."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.helpers.certs import KEY_PASSWORD, CertSet, Kind
from tests.servers import fleet
from tests.servers.dialogs import DIALOGS, Refused, converse, exchange, upgrade
from tests.servers.fleet import ALL, ONE_VERSION, UPGRADING, Fleet, Name
from tests.servers.launcher import ClientAuth, Daemon, NotPossible, Tls

pytestmark = pytest.mark.one_python

VERSIONS: list[Tls] = ["1.2", "1.3"]
# What a wrong certificate is to OpenSSL.
VERIFY_CODES: dict[Kind, int] = {
    "wrong_host": 62,
    "untrusted": 20,
    "expired": 10,
    "not_yet": 9,
    "self_signed": 18,
    "cn_only": 62,
    "revoked": 23,
    "incomplete": 20,
    "client_purpose": 26,
    "weak": 66,
}
NEVER_ASKING: tuple[Name, ...] = ("nntp", "mqtt", "gopher", "nats")
NEVER_REQUIRING: tuple[Name, ...] = ("nntp", "lmtp", "irc", "mysql")
# Where a required certificate is for the login only: what is said, and the answers with one and without.
LOGINS: dict[Name, tuple[bytes, bytes, bytes]] = {
    "imap": (b"c LOGIN user password\r\n", rb"^c OK .*\n", rb"^c NO .*\n"),
    "pop3": (b"AUTH PLAIN AHVzZXIAcGFzc3dvcmQ=\r\n", rb"^\+OK .*\n", rb"^-ERR .*\n"),
    "sieve": (b'AUTHENTICATE "PLAIN" "AHVzZXIAcGFzc3dvcmQ="\r\n', rb"^OK .*\n", rb"^NO .*\n"),
}


def trusting(certs: CertSet) -> ssl.SSLContext:
    """Return a context for a strict client, which minds no CN."""
    context = certs.client_context()
    context.hostname_checks_common_name = False
    return context


def plain(daemon: Daemon, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, daemon.port), timeout=5)


@contextmanager
def connected(daemon: Daemon, name: Name, context: ssl.SSLContext, host: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    """Connect and have TLS: by the upgrade where there is one, else from the first byte."""
    upgrading = name in UPGRADING
    port = daemon.port if upgrading else daemon.tls_port
    with socket.create_connection((host, port), timeout=5) as sock:
        if upgrading:
            upgrade(sock, DIALOGS[name])
        with context.wrap_socket(sock, server_hostname="localhost") as secured:
            yield secured


@pytest.mark.parametrize("name", ALL)
def test_clear_text(daemon: Fleet, name: Name) -> None:
    """At every loopback address."""
    running = daemon(name)
    for host in running.hosts:
        with plain(running, host) as sock:
            converse(sock, DIALOGS[name])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ONE_VERSION)
def test_tls(daemon: Fleet, certs: CertSet, name: Name, version: Tls) -> None:
    """By the upgrade and from the first byte, with this version and not with the other."""
    running = daemon(name, tls=version)
    for host in running.hosts:
        if name in UPGRADING:
            with connected(running, name, trusting(certs), host) as sock:
                assert sock.version() == f"TLSv{version}"
                converse(sock, DIALOGS[name], upgraded=True)
        if name not in ("postgres", "mysql"):
            insecure = socket.create_connection((host, running.tls_port), timeout=5)
            with insecure, trusting(certs).wrap_socket(insecure, server_hostname=host) as sock:
                assert sock.version() == f"TLSv{version}"
                converse(sock, DIALOGS[name])
    # dovecot, inspircd and slapd give no reason.
    turned_away = pytest.raises(ssl.SSLError, match=r"(?i)version|handshake failure|EOF")
    with turned_away, connected(running, name, other(certs, version)):
        pass


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name in ALL if name not in ONE_VERSION])
def test_tls_where_the_client_chooses(daemon: Fleet, certs: CertSet, name: Name, version: Tls) -> None:
    """By the upgrade, with either version; a daemon with one version only is not to be had."""
    with pytest.raises(NotPossible):
        daemon(name, tls=version)
    running = daemon(name)
    for host in running.hosts:
        with connected(running, name, other(certs, "1.2" if version == "1.3" else "1.3"), host) as sock:
            assert sock.version() == f"TLSv{version}"
            converse(sock, DIALOGS[name], upgraded=True)


def other(certs: CertSet, version: Tls) -> ssl.SSLContext:
    """Return a context without this version."""
    context = trusting(certs)
    if version == "1.3":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


@pytest.mark.parametrize("name", ALL)
def test_no_tls(daemon: Fleet, name: Name) -> None:
    """The upgrade is refused; the rest of the protocol is there."""
    running = daemon(name, tls="off")
    assert running.tls_port == 0
    dialog = DIALOGS[name]
    with plain(running) as sock:
        if name == "irc":  # which does not answer at all: the first answer must be that to the question
            exchange(sock, dialog.request + dialog.ask, dialog.answer)
        elif name in UPGRADING:
            with pytest.raises(Refused):
                upgrade(sock, dialog)
    with plain(running) as sock:
        converse(sock, dialog)


@pytest.mark.parametrize("kind", VERIFY_CODES)
@pytest.mark.parametrize("name", ["smtp", "http"])
def test_wrong_certificate(daemon: Fleet, certs: CertSet, name: Name, kind: Kind) -> None:
    """By one daemon with GnuTLS and one with OpenSSL."""
    refuse(daemon(name, cert=kind), certs, name, kind)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("smtp", "http")])
def test_expired_certificate(daemon: Fleet, certs: CertSet, name: Name) -> None:
    refuse(daemon(name, cert="expired"), certs, name, "expired")


def refuse(running: Daemon, certs: CertSet, name: Name, kind: Kind) -> None:
    context = trusting(certs)
    if kind == "revoked":
        context.load_verify_locations(certs.crl)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    with pytest.raises(ssl.SSLCertVerificationError) as caught, connected(running, name, context):
        pass
    assert caught.value.verify_code == VERIFY_CODES[kind]


@pytest.mark.parametrize("name", ["smtp", "http"])
def test_chain(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """The intermediate CA's certificate is sent along."""
    with connected(daemon(name, cert="chain"), name, trusting(certs)):
        pass


@pytest.mark.parametrize("client_auth", ["no", "ask"])
@pytest.mark.parametrize("name", [name for name in ALL if name != "nats"])
def test_client_certificate_asked_for(daemon: Fleet, certs: CertSet, name: Name, client_auth: ClientAuth) -> None:
    """openssl is another judge of the upgrade, and tells of being asked; without a certificate it gets in."""
    if client_auth == "ask" and name in NEVER_ASKING:
        with pytest.raises(NotPossible):
            daemon(name, client_auth="ask")
        return
    running = daemon(name, client_auth=client_auth)
    command = ["openssl", "s_client", "-CAfile", str(certs.ca), "-verify_hostname", "localhost", "-verify_return_error"]
    command += ["-connect", f"127.0.0.1:{running.port if name in UPGRADING else running.tls_port}"]
    command += ["-starttls", name, "-name", "localhost"] if name in UPGRADING else []
    run = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=10)
    assert b"Verify return code: 0 (ok)" in run.stdout, run.stderr.decode()
    asked = b"Requested Signature Algorithms: " in run.stdout
    assert asked == (client_auth == "ask" or name == "mysql")  # MariaDB always asks


@pytest.mark.parametrize("name", [name for name in ALL if name not in (*NEVER_REQUIRING, *LOGINS)])
def test_client_certificate_required(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """Without one the client gets no answer to its question, be it in the handshake or after it."""
    running = daemon(name, client_auth="require")
    context = trusting(certs)
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)), connected(running, name, context) as sock:
        converse(sock, DIALOGS[name], upgraded=name in UPGRADING)
    context.load_cert_chain(certs.client.chain, certs.client.encrypted_key, KEY_PASSWORD)
    with connected(running, name, context) as sock:
        converse(sock, DIALOGS[name], upgraded=name in UPGRADING)


@pytest.mark.parametrize("name", LOGINS)
def test_client_certificate_required_for_the_login(daemon: Fleet, certs: CertSet, name: Name) -> None:
    login, accepted, refused = LOGINS[name]
    running = daemon(name, client_auth="require")
    context = trusting(certs)
    with connected(running, name, context) as sock:
        converse(sock, DIALOGS[name], upgraded=True)
        exchange(sock, login, refused)
    context.load_cert_chain(certs.client.chain, certs.client.key)
    with connected(running, name, context) as sock:
        converse(sock, DIALOGS[name], upgraded=True)
        exchange(sock, login, accepted)


@pytest.mark.parametrize("name", NEVER_REQUIRING)
def test_client_certificate_cannot_be_required(daemon: Fleet, name: Name) -> None:
    """A test that wants it is told, rather than being given less."""
    with pytest.raises(NotPossible):
        daemon(name, client_auth="require")


def test_one_address(daemon: Fleet) -> None:
    daemon("redis").need("::1")
    running = daemon("redis", host="::1")
    assert running.hosts == ("::1",)
    with plain(running, "::1") as sock:
        converse(sock, DIALOGS["redis"])
    with pytest.raises(ConnectionRefusedError):
        plain(running)


def test_variants_are_shared_up_to_a_limit(certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not asked for the longest is stopped when there are too many; at the end all are."""
    monkeypatch.setattr(fleet, "_LIMIT", 2)
    with Fleet(certs) as daemon:
        first, second = daemon("redis"), daemon("redis", tls="off")
        assert daemon("redis") is first
        third = daemon("redis", tls="1.2")
        assert [running.folder.exists() for running in (first, second, third)] == [True, False, True]
    assert not first.folder.exists()
    assert not third.folder.exists()
