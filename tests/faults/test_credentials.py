"""Rows 79 to 81: files of authorities, client certificates and their keys."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, load_pem_private_key, pkcs12

from tests.faults.ways import check_message, demand, upgrade
from tests.helpers.certs import KEY_PASSWORD, CertSet
from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Argument, Result, cfcat
from tests.helpers.terminal import terminal
from tests.pipe.tools import Transport
from tests.servers.fleet import Fleet

pytestmark = pytest.mark.one_python

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
CA_FAULTS = ("missing", "empty", "binary", "text", "directory", "unreadable")
CERT_FAULTS = ("missing", "empty", "other key", "directory", "only the certificate", "PKCS#12", "unreadable")


def nobody_special() -> list[str]:
    """Run without root's right to read everything."""
    if os.geteuid() != 0:
        return []
    without = "-dac_override,-dac_read_search"
    return [demand("setpriv"), "--bounding-set", without, "--inh-caps", without]


def broken(path: Path, fault: str) -> tuple[Path, str]:
    """Make a file that is unusable in this way; return it and what is said of it."""
    match fault:
        case "missing":
            return path, "no such file or directory"
        case "directory":
            path.mkdir()
            return path, ""  # the words are OpenSSL's for one, the system's for the other
        case "unreadable":
            path.write_bytes(b"x")
            path.chmod(0)
            return path, "permission denied"
    path.write_bytes({"empty": b"", "binary": bytes(range(256)), "text": b"no certificate in here\n"}[fault])
    return path, "no certificates in PEM form in it"


@pytest.mark.parametrize("how", ["--cacert", "SSL_CERT_FILE"])
@pytest.mark.parametrize("fault", CA_FAULTS)
def test_row_79_file_of_authorities(tmp_path: Path, fault: str, how: str) -> None:
    """77 with its name and the reason, before anything is connected."""
    path, reason = broken(tmp_path / "ca.pem", fault)
    options: list[Argument] = ["--cacert", path] if how == "--cacert" else []
    env = {} if options else {"SSL_CERT_FILE": str(path)}
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--tls", "on", *options, server.address, env=env, by=nobody_special())
        assert server.connections == 0
    name = path if options else f"SSL_CERT_FILE={path}"
    assert check_message(result, 77, f"cannot use the file of authorities {name}: {reason}") == (
        "SSL_CERT_DIR=DIR in the environment trusts a folder" if fault == "directory" else ""
    )


def test_row_79_broken_environment_does_not_matter_where_it_is_not_asked(certs: CertSet) -> None:
    """--cacert and -k do without SSL_CERT_FILE and SSL_CERT_DIR."""

    def script(conn: Peer) -> None:
        if conn.start_tls(certs.server_context(), may_fail=True):
            conn.send(b"hello")

    env = {"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/nowhere"}
    with serve(script) as server:
        assert cfcat("--tls", "on", "--cacert", certs.ca, server.address, env=env) == Result(b"hello", "", 0)
        assert cfcat("--tls", "on", "-k", server.address, env=env).stdout == b"hello"


def asking(certs: CertSet, version: ssl.TLSVersion, *, upgraded: bool = False) -> Script:
    """Demand a certificate of the client's, then greet it by name."""

    def script(conn: Peer) -> None:
        context = certs.server_context(version=version)
        context.load_verify_locations(certs.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        if upgraded:
            upgrade(conn)
        if conn.start_tls(context, may_fail=True):
            conn.send(repr(conn.peer_certificate().get("subject", ())).encode())

    return script


@pytest.mark.parametrize("fault", CERT_FAULTS)
def test_row_80_client_certificate(certs: CertSet, tmp_path: Path, fault: str) -> None:
    """58, the file is named, nothing connected."""
    path = tmp_path / "client"
    key: list[Argument] = []
    match fault:
        case "other key":
            path, key = certs.client.chain, ["--key", certs["good"].key]
        case "only the certificate":
            path = certs.client.chain
        case "PKCS#12":
            chain = x509.load_pem_x509_certificate(certs.client.chain.read_bytes())
            private = load_pem_private_key(certs.client.key.read_bytes(), None)
            blob = pkcs12.serialize_key_and_certificates(b"client", private, chain, None, NoEncryption())  # type: ignore[arg-type]
            path.write_bytes(blob)
        case _:
            broken(path, fault)
    with serve(asking(certs, VERSIONS[1])) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, "--cert", path, *key, server.address, by=nobody_special())
        assert server.connections == 0
    named = key[1] if key else path
    assert check_message(result, 58, f"cannot use the certificate: {named}: ") == ""


def test_row_80_wrong_password(certs: CertSet) -> None:
    """58, in words, not OpenSSL's."""
    options = ["--cert", str(certs.client.chain), "--key", str(certs.client.encrypted_key)]
    with (
        serve(asking(certs, VERSIONS[1])) as server,
        terminal("--pipe", "--tls", "on", "--cacert", str(certs.ca), *options, server.address) as term,
    ):
        term.expect("password of .*: ")
        term.type("nonsense\r")
        term.expect("the password is wrong")
        assert term.finish() == 58
        assert server.connections == 0
        assert b"nonsense" not in term.output


def test_row_80_password_without_a_terminal(certs: CertSet) -> None:
    """58: stdin is data, and never asked for a password."""
    options: list[Argument] = ["--cert", certs.client.chain, "--key", certs.client.encrypted_key]
    with serve(asking(certs, VERSIONS[1])) as server:
        arguments: list[Argument] = ["--tls", "on", "--cacert", certs.ca, *options, server.address]
        result = cfcat(*arguments, stdin=KEY_PASSWORD.encode() + b"\n")
        assert server.connections == 0
    check_message(result, 58, "cannot use the certificate: ")
    assert "there is no terminal" in result.stderr


def test_row_81_client_certificate_that_is_required_and_missing(tls_way: Transport) -> None:
    """35 and the hint, also where the refusal comes after the handshake (TLS 1.3): no reset, no truncation."""
    certs, version = tls_way.certs, tls_way.version
    assert version is not None
    with serve(asking(certs, version, upgraded=tls_way.name == "upgraded")) as server:
        result = cfcat(*tls_way.options, server.address, stdin=b"")
    alert = "handshake failure" if version is VERSIONS[0] else "certificate required"
    hint = check_message(result, 35, f"{server.address}: TLS ")
    assert f"the peer sent the alert {alert}\n" in result.stderr
    assert hint.endswith("--cert FILE shows who we are")


@pytest.mark.parametrize(("option", "status"), [("--pipe", 35), ("--repl", 1)], ids=["pipe", "script"])
def test_row_81_the_refusal_of_redis_which_resets_what_was_sent_meanwhile(
    certs: CertSet, daemon: Fleet, option: str, status: int
) -> None:
    """35, and 1 for a script's line: the alert came before the reset, and says why; the reset alone said nothing."""
    server = daemon("redis", client_auth="require")
    result = cfcat(option, "--tls", "on", "--cacert", certs.ca, f"localhost:{server.tls_port}", stdin=b"PING\r\n")
    assert result.status == status
    assert "TLS failed: the peer sent the alert certificate required\n" in result.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("kind", "alert"), [("untrusted", "unknown ca"), ("expired", "certificate expired")])
def test_row_81_client_certificate_that_is_refused(
    certs: CertSet, version: ssl.TLSVersion, kind: str, alert: str
) -> None:
    """35, and whose certificate it is that the alert is about."""
    with serve(asking(certs, version)) as server:
        pem = certs[kind].pem  # type: ignore[index]
        result = cfcat("--tls", "on", "--cacert", certs.ca, "--cert", pem, server.address, stdin=b"")
    hint = check_message(result, 35, f"{server.address}: TLS ")
    assert f"the peer sent the alert {alert}\n" in result.stderr
    assert hint == "the peer does not accept the certificate of --cert"
