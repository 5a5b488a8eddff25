"""The tap between real clients and real daemons: the client's result is the same, and the clear text is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.program import Argument, cfcat
from tests.servers.daemons import NGINX_FILE
from tests.servers.fleet import Fleet
from tests.servers.launcher import Variant, launched
from tests.servers.proxies import microsocks
from tests.tap.tapping import run_client, tapping

pytestmark = pytest.mark.one_python


def test_swaks_and_exim(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """STARTTLS: a mail is sent, and seen on both sides of the upgrade; the password is masked."""
    smtp = daemon("smtp")
    mail = ["--to", "you@localhost", "--from", "me@me.example", "--body", "tapped", "--tls"]
    login = ["--auth", "PLAIN", "--auth-user", "me", "--auth-password", "geheim"]
    with tapping(f"localhost:{smtp.port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        command: list[Argument] = [
            "swaks",
            "--server",
            tap.address,
            *mail,
            *login,
            "--tls-verify",
            "--tls-ca-path",
            tap.ca,
        ]
        status, output = run_client(command)
        assert status == 0, output.decode()
        shown = tap.shows("over after")
        result = tap.end()
    assert "#1" in shown
    assert re.search(r"^#1 \S+ > - STARTTLS\\r\\n$", shown, re.M)
    assert re.search(r"^#1 \S+ \* - TLS with the client: TLSv1\.\d, ", shown, re.M)
    assert re.search(r"^#1 \S+ \* - TLS established in ", shown, re.M)
    assert re.search(r"^#1 \S+ > T MAIL FROM:<me@me\.example>\\r\\n$", shown, re.M)
    assert re.search(r"^#1 \S+ > T AUTH PLAIN \*\*\*\*\\r\\n$", shown, re.M)
    assert re.search(r"^#1 \S+ < T 250 OK id=", shown, re.M)
    assert "geheim" not in shown
    assert result.status == -2


def test_psql_and_postgresql(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """SSLRequest, TLS verified by both sides (verify-full), a query and its row."""
    server = daemon("postgres")
    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        target = f"host=localhost hostaddr=127.0.0.1 port={tap.port} user=postgres dbname=postgres sslmode=verify-full"
        status, output = run_client(["psql", f"{target} sslrootcert={tap.ca}", "-Atc", "select 6*7"])
        assert (status, output) == (0, b"42\n")
        shown = tap.shows("over after")
        tap.end()
    assert r"> - \x00\x00\x00\x08\x04\xd2\x16/" in shown
    assert "< - S" in shown
    assert re.search(r"> T .*select 6\*7", shown)
    assert re.search(r"< T .*42", shown)


@pytest.mark.parametrize("tls", [True, False])
def test_mariadb_and_mariadb(daemon: Fleet, certs: CertSet, tmp_path: Path, tls: bool) -> None:
    """Its ClientHello comes in one segment with the request before it; without TLS it is clear text to the end."""
    server = daemon("mysql")
    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        flags: list[Argument] = ["--protocol=tcp", "--host=127.0.0.1", f"--port={tap.port}", "--user=me"]
        flags += ["--ssl", f"--ssl-ca={tap.ca}", "--ssl-verify-server-cert"] if tls else ["--skip-ssl"]
        status, output = run_client(["mariadb", "--no-defaults", *flags, "-Ne", "select 6*7"])
        assert (status, output) == (0, b"42\n")
        shown = tap.shows(r"select 6\*7")
        tap.end()
    assert ("TLS with the client" in shown) == tls
    assert re.search(r"> T .*select 6\*7" if tls else r"> - .*select 6\*7", shown)


def test_ldapsearch_and_slapd(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """-ZZ: StartTLS, or nothing."""
    server = daemon("ldap")
    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        words = ["-ZZ", "-x", "-H", f"ldap://127.0.0.1:{tap.port}", "-b", "dc=test", "-D", "cn=admin,dc=test"]
        env = {"LDAPTLS_CACERT": str(tap.ca), "LDAPTLS_REQCERT": "demand"}
        status, output = run_client(["ldapsearch", *words, "-w", "password", "o=test"], env=env)
        assert status == 0, output.decode()
        assert b"dn: dc=test" in output
        shown = tap.shows("over after")
        tap.end()
    assert "> T " in shown
    assert "dc=test" in shown


@pytest.mark.parametrize("alpn", ["--http1.1", "--http2"])
def test_curl_and_nginx(daemon: Fleet, certs: CertSet, tmp_path: Path, alpn: str) -> None:
    """TLS at the first byte: the client's ALPN goes to the server, and its choice to the client; 10 MiB are whole."""
    server = daemon("http")
    with tapping(f"localhost:{server.tls_port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        get: list[Argument] = ["curl", "-sS", alpn, "--cacert", tap.ca]
        status, output = run_client([*get, "-w", "%{http_version}", f"https://localhost:{tap.port}/tls"])
        assert status == 0, output.decode()
        assert output.endswith(b"2" if alpn == "--http2" else b"1.1")
        assert b"sni=localhost alpn=" + (b"h2" if alpn == "--http2" else b"http/1.1") in output
        whole = run_client([*get, f"https://localhost:{tap.port}/10M.bin"])
        assert whole == (0, NGINX_FILE)
        shown = tap.shows("#2 ")
        tap.end()
    assert f"ALPN {'h2' if alpn == '--http2' else 'http/1.1'}" in shown


def test_curl_and_nginx_in_clear_text(daemon: Fleet, tmp_path: Path) -> None:
    """No TLS that nobody asked for."""
    server = daemon("http")
    with tapping(f"localhost:{server.port}", folder=tmp_path) as tap:
        assert run_client(["curl", "-sS", f"http://{tap.address}/10M.bin"]) == (0, NGINX_FILE)
        shown = tap.shows("GET /10M.bin")
        tap.end()
    assert "> - GET /10M.bin HTTP/1.1\\r\\n" in shown


@pytest.mark.parametrize("tls", [True, False])
def test_redis_cli_and_redis(daemon: Fleet, certs: CertSet, tmp_path: Path, tls: bool) -> None:
    """Redis ends TLS without close_notify: that is named, and passed on."""
    server = daemon("redis")
    port = server.tls_port if tls else server.port
    with tapping(f"localhost:{port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        flags: list[Argument] = ["--tls", "--cacert", tap.ca, "--sni", "localhost"] if tls else []
        status, output = run_client(["redis-cli", "-h", "127.0.0.1", "-p", str(tap.port), *flags, "echo", "tapped"])
        assert (status, output) == (0, b"tapped\n")
        shown = tap.shows("over after")
        tap.end()
    assert ("< T tapped" if tls else "< - tapped") in shown


@pytest.mark.parametrize("name", ["imap", "pop3"])
def test_s_client_and_dovecot(daemon: Fleet, certs: CertSet, tmp_path: Path, name: str) -> None:
    """It ends with the server's goodbye."""
    server = daemon(name)  # type: ignore[arg-type]
    goodbye = {"imap": b"z LOGOUT\r\n", "pop3": b"QUIT\r\n"}[name]
    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        flags: list[Argument] = [
            "-starttls",
            name,
            "-CAfile",
            tap.ca,
            "-verify_return_error",
            "-quiet",
            "-servername",
            "localhost",
        ]
        status, output = run_client(["openssl", "s_client", "-connect", tap.address, *flags], stdin=goodbye)
        assert status == 0, output.decode()
        shown = tap.shows("> T ")
        tap.end()
    assert goodbye.decode().strip() in shown


def test_the_server_may_be_behind_a_proxy(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """The tap goes through it; the name is resolved there."""
    server = daemon("smtp")
    with launched(microsocks, certs, Variant(host="127.0.0.1")) as proxy:
        url = f"socks5h://127.0.0.1:{proxy.port}"
        flags = ("--cacert", certs.ca, "--proxy", url, "-v")
        with tapping(f"localhost:{server.port}", *flags, folder=tmp_path) as tap:
            result = cfcat("--starttls", "smtp", "--cacert", tap.ca, tap.address, stdin=b"QUIT\r\n")
            assert result.status == 0, result.stderr
            assert b"221 " in result.stdout
            tap.shows(re.escape(url))
            tap.end()


def test_cfcat_through_a_tap(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """Its own client, too, with the authority of the tap."""
    server = daemon("smtp")
    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, folder=tmp_path) as tap:
        result = cfcat("--starttls", "smtp", "--cacert", tap.ca, tap.address, stdin=b"QUIT\r\n")
        assert result.status == 0, result.stderr
        tap.end()
