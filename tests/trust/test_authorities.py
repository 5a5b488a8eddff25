"""Private authorities as people make them: trusted where they are named, and nothing more is trusted than that."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from cfcat.core.context import make_tls_context
from tests.faults.ways import check_message
from tests.helpers.certs import CertSet
from tests.helpers.installed import demand
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, shell
from tests.trust.s_server import HELLO, Leaf, make_authority, make_leaf, make_self_signed, openssl, s_server

pytestmark = pytest.mark.one_python


def default(folder: Path) -> Leaf:
    """`openssl req -x509`, then `openssl x509 -req`, nothing else said."""
    make_authority(folder)
    return make_leaf(folder)


def not_critical(folder: Path) -> Leaf:
    """An authority whose basicConstraints are not critical, and that does not say what its key is for."""
    make_authority(folder, "-config", "/dev/null", "-addext", "basicConstraints=CA:TRUE")
    return make_leaf(folder)


def without_identifiers(folder: Path) -> Leaf:
    """A leaf that does not name the key of its issuer."""
    make_authority(folder)
    return make_leaf(folder, "authorityKeyIdentifier=none", "subjectKeyIdentifier=none")


def version_1(folder: Path) -> Leaf:
    """An authority from before there were extensions."""
    make_authority(folder, version_1=True)
    return make_leaf(folder)


def self_signed(folder: Path) -> Leaf:
    """The server's own certificate is what is trusted."""
    return make_self_signed(folder, version_1=False)


MADE = [default, not_critical, without_identifiers, version_1, self_signed]


@pytest.mark.parametrize("make", MADE)
def test_a_private_authority_is_trusted(tmp_path: Path, make: Callable[[Path], Leaf]) -> None:
    """By every name that the certificate has."""
    leaf = make(tmp_path)
    for name in ((), ("--sni", "host.a.test")):
        with s_server(leaf) as server:
            result = cfcat("--tls", "on", "--cacert", tmp_path / "ca.pem", "-q", "0.3", *name, server.target)
        assert result == Result(HELLO, "", 0)


def test_a_self_signed_certificate_of_version_1_is_trusted_but_names_nobody(tmp_path: Path) -> None:
    """Named by --cacert it is no stranger; what it lacks is a name that counts, and that is what is said."""
    leaf = make_self_signed(tmp_path, version_1=True)
    with s_server(leaf) as server:
        result = cfcat("--tls", "on", "--cacert", leaf.cert, server.target)
    check_message(result, 60, f"{server.target}: certificate not trusted: it names no host")


@pytest.mark.parametrize("make", MADE)
def test_an_authority_that_is_not_named_is_not_trusted(
    tmp_path: Path, make: Callable[[Path], Leaf], certs: CertSet
) -> None:
    """However it was made."""
    leaf = make(tmp_path)
    with s_server(leaf) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, server.target)
    hint = check_message(result, 60, f"{server.target}: certificate not trusted: it ")
    assert hint.startswith("--cacert FILE trusts another authority; ")


def test_a_leaf_that_is_no_authority_vouches_for_nobody(tmp_path: Path) -> None:
    """Without strict checks, too: what says CA:FALSE does not issue."""
    make_authority(tmp_path)
    leaf = make_leaf(tmp_path, "basicConstraints=CA:FALSE")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "ca.pem").write_bytes(leaf.cert.read_bytes())
    (inner / "ca.key").write_bytes(leaf.key.read_bytes())
    forged = make_leaf(inner)
    with s_server(forged, "-cert_chain", str(leaf.cert)) as server:
        result = cfcat("--tls", "on", "--cacert", tmp_path / "ca.pem", server.target)
    assert result.status == 60


def test_a_wildcard_does_not_match_an_underscore(tmp_path: Path) -> None:
    """The message says so: the two names look as if they fitted."""
    leaf = default(tmp_path)
    with s_server(leaf) as server:
        result = cfcat("--tls", "on", "--cacert", tmp_path / "ca.pem", "--sni", "my_host.a.test", server.target)
    names = "localhost, *.a.test, 127.0.0.1, ::1, fe80::1"
    text = f"{server.target}: certificate not trusted: it is for {names}, not my_host.a.test"
    check_message(result, 60, f"{text}: a wildcard matches letters, digits and hyphens only")


# ------------------------------------------------------------------------------------ SSL_CERT_FILE and SSL_CERT_DIR


def served(certs: CertSet, **env: str) -> Result:
    """A run against a server whose authority is `certs.ca`."""

    def script(conn: Peer) -> None:
        if conn.start_tls(certs.server_context(), may_fail=True):
            conn.send(HELLO)

    with serve(script) as server:
        return cfcat("--tls", "on", server.address, env=env)


@pytest.fixture
def hashed(tmp_path: Path, certs: CertSet) -> Path:
    """A folder of authorities, as SSL_CERT_DIR names one."""
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(certs.ca.read_bytes())
    openssl("rehash", folder, cwd=tmp_path)
    return folder


def test_either_variable_names_the_authorities(certs: CertSet, hashed: Path, tmp_path: Path) -> None:
    """One, the other, or both; of several folders any."""
    other = make_authority(tmp_path)
    ok = Result(HELLO, "", 0)
    assert served(certs, SSL_CERT_FILE=str(certs.ca)) == ok
    assert served(certs, SSL_CERT_DIR=str(hashed)) == ok
    assert served(certs, SSL_CERT_DIR=f"/nowhere:{hashed}") == ok
    assert served(certs, SSL_CERT_FILE=str(other), SSL_CERT_DIR=str(hashed)) == ok
    assert served(certs, SSL_CERT_FILE=str(other)).status == 60


def test_a_file_replaces_the_systems_authorities(monkeypatch: pytest.MonkeyPatch, certs: CertSet) -> None:
    """What is loaded is that file, and nothing of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certs.ca))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert make_tls_context().get_ca_certs() == make_tls_context(cacert=certs.ca).get_ca_certs()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_one_variable_keeps_the_systems_other_place_out(certs: CertSet, tmp_path: Path, variable: str) -> None:
    """OpenSSL would go on looking for issuers there: no file of the system's is opened or looked for."""
    demand("strace")
    value = make_authority(tmp_path) if variable == "SSL_CERT_FILE" else tmp_path
    paths = ssl.get_default_verify_paths()
    trace = tmp_path / "trace"

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(), may_fail=True)

    with serve(script) as server:
        command = f"strace -f -e trace=file -o {trace} cfcat --tls on {server.address}"
        result = shell(command, env={variable: str(value)}, timeout_s=30)
    assert result.status == 60
    seen = trace.read_text()
    assert str(value) in seen
    assert f'"{paths.openssl_cafile}"' not in seen
    assert f'"{paths.openssl_capath}/' not in seen


def test_a_folder_that_is_not_there_is_named(certs: CertSet) -> None:
    """OpenSSL would trust nobody, and every server would fail without a reason."""
    result = served(certs, SSL_CERT_DIR="/nowhere")
    text = "cannot use the file of authorities SSL_CERT_DIR=/nowhere: no such folder"
    assert check_message(result, 77, text) == ""


# ------------------------------------------------------------------------------------ the system's authorities


def of_the_system(monkeypatch: pytest.MonkeyPatch, file: Path, folder: Path) -> ssl.SSLContext:
    """The default context of a system that has these two places."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    paths = ssl.get_default_verify_paths()._replace(cafile=str(file), capath=str(folder))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    return make_tls_context()


def test_of_a_folder_that_has_all_authorities_only_what_is_needed_is_read(
    monkeypatch: pytest.MonkeyPatch, certs: CertSet, hashed: Path
) -> None:
    """Nothing is loaded at first, and a server of that authority is trusted; line ends and comments do not matter."""
    bundle = hashed.parent / "bundle.crt"
    bundle.write_bytes(b"# of the company\r\n" + certs.ca.read_bytes().replace(b"\n", b"\r\n"))
    context = of_the_system(monkeypatch, bundle, hashed)
    assert context.get_ca_certs() == []

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(HELLO)

    with serve(script) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                assert tls.recv(100) == HELLO
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("lacking", ["certificate", "name", "file", "folder"])
def test_a_folder_that_lacks_an_authority_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, certs: CertSet, hashed: Path, lacking: str
) -> None:
    """One that was only added to the file, or that OpenSSL would not find by its name: then all is loaded, as ever."""
    bundle = hashed.parent / "bundle.crt"
    bundle.write_bytes(certs.ca.read_bytes())
    if lacking == "certificate":
        other = make_authority(hashed.parent)
        bundle.write_bytes(certs.ca.read_bytes() + other.read_bytes())
    elif lacking == "name":
        for link in hashed.glob("*.0"):
            link.unlink()
    elif lacking == "file":
        bundle.unlink()
    else:
        hashed = hashed.parent / "nowhere"
    loaded: list[object] = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda _, purpose: loaded.append(purpose))
    of_the_system(monkeypatch, bundle, hashed)
    assert loaded == [ssl.Purpose.SERVER_AUTH]


def test_the_same_holds_of_both_variables(monkeypatch: pytest.MonkeyPatch, certs: CertSet, hashed: Path) -> None:
    """Where the folder does not have all that is in the file, that is loaded."""
    monkeypatch.setenv("SSL_CERT_DIR", str(hashed))
    monkeypatch.setenv("SSL_CERT_FILE", str(certs.ca))
    assert make_tls_context().get_ca_certs() == []
    other = make_authority(hashed.parent)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    assert len(make_tls_context().get_ca_certs()) == 1
