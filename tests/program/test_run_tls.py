"""A run with TLS, beyond trust: client certificates, ALPN, versions, truncation, keys, the file of authorities."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest

from cfcat import ClientCertificateError, OptionsError, connect, make_tls_context
from tests.helpers.certs import KEY_PASSWORD, CertSet
from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Argument, Result, cfcat
from tests.helpers.terminal import terminal
from tests.program.command import Command, refuse
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def asking(certs: CertSet, version: ssl.TLSVersion, mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> Script:
    """Want the client's certificate, then greet it by name."""

    def script(conn: Peer) -> None:
        context = certs.server_context(version=version)
        context.load_verify_locations(certs.ca)
        context.verify_mode = mode
        if conn.start_tls(context, may_fail=True):
            subject = conn.peer_certificate().get("subject", ())
            conn.send(repr(subject).encode())

    return script


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("apart", [True, False], ids=["key in its own file", "one file"])
def test_client_certificate_is_shown(certs: CertSet, version: ssl.TLSVersion, apart: bool) -> None:
    """--cert, with the key in the same file or in --key."""
    options: list[Argument] = ["--cert", certs.client.chain, "--key", certs.client.key]
    if not apart:
        options = ["--cert", certs.client.pem]
    with serve(asking(certs, version)) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, *options, server.address)
    assert b"client" in result.stdout
    assert (result.stderr, result.status) == ("", 0)


def test_password_is_asked_on_the_terminal(certs: CertSet) -> None:
    """An encrypted key: asked without echo, and the run goes on."""
    options = ["--cert", str(certs.client.chain), "--key", str(certs.client.encrypted_key)]
    with (
        serve(asking(certs, ssl.TLSVersion.TLSv1_3)) as server,
        terminal("--pipe", "--tls", "on", "--cacert", str(certs.ca), *options, server.address) as term,
    ):
        term.expect("password of .*: ")
        term.type(KEY_PASSWORD + "\r")
        term.expect("client")
        assert KEY_PASSWORD.encode() + b"\r" not in term.output
        assert term.finish() == 0
        assert term.attributes() == term.attributes_before


def test_library_raises_for_an_encrypted_key_without_a_password(certs: CertSet) -> None:
    """OpenSSL itself would ask on the terminal; the library must not."""
    with pytest.raises(ClientCertificateError, match="encrypted"):
        make_tls_context(cert=certs.client.chain, key=certs.client.encrypted_key)
    make_tls_context(cert=certs.client.chain, key=certs.client.encrypted_key, password=lambda: KEY_PASSWORD)


def test_alpn_is_offered(certs: CertSet) -> None:
    """SEC-R8: the list in its order; the server's choice among it stands."""

    def script(conn: Peer) -> None:
        context = certs.server_context()
        context.set_alpn_protocols(["imap", "http/1.1"])
        conn.start_tls(context)
        conn.send(str(conn.alpn()).encode())

    with serve(script) as server:
        options: list[Argument] = ["--tls", "on", "--cacert", certs.ca, server.address]
        assert cfcat("--alpn", "http/1.1,imap", *options) == Result(b"imap", "", 0)
        assert cfcat(*options) == Result(b"None", "", 0)


@pytest.mark.parametrize("value", ["", "a,,b", "x" * 256, "ä"])
def test_alpn_that_is_no_list(certs: CertSet, value: str) -> None:
    """One line, status 2, nothing connected."""
    with serve(asking(certs, ssl.TLSVersion.TLSv1_3)) as server:
        result = cfcat("--tls", "on", "--alpn", value, server.address)
        assert server.connections == 0
    check_form(result.stderr)
    assert result.status == 2


@pytest.mark.parametrize(
    ("options", "spoken"),
    [(["--tls-max", "1.2"], "TLSv1.2"), (["--tls-min", "1.3"], "TLSv1.3"), (["--tls-min", "1.2"], "TLSv1.3")],
)
def test_versions(certs: CertSet, options: list[str], spoken: str) -> None:
    """--tls-min and --tls-max bound what is spoken."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(str(conn.tls_version).encode())

    with serve(script) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, *options, server.address)
    assert result == Result(spoken.encode(), "", 0)


def test_versions_that_exclude_each_other() -> None:
    """Nothing is at least 1.3 and at most 1.2."""
    result = cfcat("--tls", "on", "--tls-min", "1.3", "--tls-max", "1.2", "localhost:1")
    assert result.status == 2
    with pytest.raises(OptionsError, match=r"at least 1\.3 and at most 1\.2"):
        make_tls_context(tls_min="1.3", tls_max="1.2")


def test_keys_are_logged_for_their_owner_only(certs: CertSet, tmp_path: Path) -> None:
    """SSLKEYLOGFILE: 0600, and appended to."""
    log = tmp_path / "keys"
    env = {"SSLKEYLOGFILE": str(log)}
    with serve(asking(certs, ssl.TLSVersion.TLSv1_3, ssl.CERT_NONE)) as server:
        options: list[Argument] = ["--tls", "on", "--cacert", certs.ca, server.address]
        assert cfcat(*options, env=env).status == 0
        once = log.read_text()
        assert cfcat(*options, env=env).status == 0
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in once
    assert log.read_text().startswith(once)
    assert len(log.read_text()) > len(once)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_keys_that_cannot_be_logged_are_a_warning(certs: CertSet) -> None:
    """The run goes on."""
    env = {"SSLKEYLOGFILE": "/nowhere/keys"}
    with serve(asking(certs, ssl.TLSVersion.TLSv1_3, ssl.CERT_NONE)) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, server.address, env=env)
    assert result.status == 0
    text = "SSLKEYLOGFILE=/nowhere/keys: no such file or directory: keys are not logged"
    assert result.stderr == f"cfcat: warning: {text}\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--cert", "x"],
        ["--cert", "x", "--key", "y"],
        ["--alpn", "h2"],
        ["--tls-min", "1.2"],
        ["--tls-max", "1.2"],
        ["--ciphers", "AES128-SHA"],
        ["--ignore-unexpected-eof"],
        ["--tls", "on", "--key", "y"],
        ["--tls", "on", "--tls-min", "1.1"],
        ["--tls", "on", "--ciphers", "NONSENSE"],
        ["--tls", "on", "--ciphers", ""],
    ],
)
def test_tls_option_that_makes_no_sense(options: list[str]) -> None:
    """Status 2, one line: never ignored."""
    result = cfcat(*options, "localhost:1")
    check_form(result.stderr)
    assert (result.stdout, result.status) == (b"", 2)


async def test_the_platforms_store_is_used_where_there_is_one(certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS, Windows: truststore's context, with our own rules on top, and it really shakes hands."""
    monkeypatch.setattr("cfcat.core.context.PLATFORM_STORE", True)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    context = make_tls_context()
    assert type(context).__module__.startswith("truststore")
    assert not context.hostname_checks_common_name
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.options & ssl.OP_NO_RENEGOTIATION
    context.load_verify_locations(certs.ca)

    with serve(asking(certs, ssl.TLSVersion.TLSv1_3, ssl.CERT_NONE)) as server:
        async with connect(server.address, secure_transport="on", tls=context) as socket:
            await socket.opened
            chunks = [chunk async for chunk in socket.readable]
            assert b"".join(chunks) == b"()"


# ------------------------------------------------------------------------------------- the file of authorities


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "no such file or directory"),
        ("folder", "is a directory"),
        ("empty", "no certificates in PEM form in it"),
        ("binary", "no certificates in PEM form in it"),
        ("key", "no certificates in PEM form in it"),
    ],
)
@pytest.mark.parametrize("given_by", ["--cacert", "SSL_CERT_FILE"])
def test_unusable_file_of_authorities(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certs: CertSet,
    given_by: str,
    kind: str,
    text: str,
) -> None:
    """77 and the file's name, before connecting; the environment's is named as that."""
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes({"empty": b"", "binary": bytes(range(256)), "key": certs["good"].key.read_bytes()}[kind])
    option = ["--cacert", str(path)] if given_by == "--cacert" else []
    name = path if option else f"SSL_CERT_FILE={path}"
    if not option:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with serve(refuse) as server:
        status, stderr = command.run(["--tls", "on", *option, server.address])
        assert server.connections == 0
    hint = "  hint: SSL_CERT_DIR=DIR in the environment trusts a folder\n" if kind == "folder" else ""
    assert (stderr, status) == (f"cfcat: cannot use the file of authorities {name}: {text}\n{hint}", 77)
    check_form(stderr)


def test_unusable_file_of_authorities_by_a_real_process() -> None:
    """The same through a shell's eyes."""
    expected = "cfcat: cannot use the file of authorities /nowhere: no such file or directory\n"
    assert cfcat("--tls", "on", "--cacert", "/nowhere", "127.0.0.1:1") == Result(b"", expected, 77)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_unreadable_file_of_authorities(tmp_path: Path, certs: CertSet) -> None:
    """A file of somebody else's."""
    path = tmp_path / "ca.pem"
    path.write_bytes(certs.ca.read_bytes())
    path.chmod(0)
    result = cfcat("--tls", "on", "--cacert", path, "127.0.0.1:1")
    assert result == Result(b"", f"cfcat: cannot use the file of authorities {path}: permission denied\n", 77)


def test_nul_in_a_file_name(command: Command) -> None:
    """As in the target, with the status of its option."""
    with serve(refuse) as server:
        status, stderr = command.run(["--tls", "on", "--cacert", "a\0b", server.address])
        assert server.connections == 0
    assert status == 77
    check_form(stderr)
