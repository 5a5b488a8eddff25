"""`--proxy`: what is said of a proxy, and of what it may not be combined with."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.test_proxy import granted
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, refusing, serve
from tests.helpers.program import Argument, Result, cfcat, finish, start
from tests.helpers.terminal import terminal
from tests.program.command import Command
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

NAME = "mail.test:25"  # no resolver knows it
URLS = "socks5h://HOST:PORT, http://USER:PASSWORD@HOST:PORT"


def to_echo(scheme: str) -> Script:
    """A proxy, and behind it a server that says what it got."""

    def script(conn: Peer) -> None:
        granted(scheme, conn)
        conn.send(conn.recv_until_eof())

    return script


def answering(said: bytes) -> Script:
    """A proxy that says this to whatever it is asked."""

    def script(conn: Peer) -> None:
        conn.recv()
        conn.send(said)
        conn.recv_until_eof()

    return script


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a", "http"])
def test_a_pipe_through_a_proxy(scheme: str) -> None:
    """As if it was not there."""
    with serve(to_echo(scheme)) as server:
        result = cfcat("--proxy", f"{scheme}://{server.address}", NAME, stdin=b"ping")
    assert result == Result(b"ping", "", 0)


# -------------------------------------------------------------------------------------- what it is told


@pytest.mark.parametrize(
    ("scheme", "said", "text", "hint"),
    [
        ("socks5h", b"\x05\xff", "it wants a user name and a password", "they go into the URL, or into CFCAT_PROXY_"),
        ("socks5h", b"HTTP/1.1 400 No\r\n", "its answer is not SOCKS 5; it said HTTP/1.1 400 No", "http:// in the URL"),
        ("http", b"\x05\xff", "its answer is not that of an HTTP proxy", "socks5h:// in the URL"),
        ("http", b"\x15\x03\x01\x00", "its answer is not that of an HTTP proxy", "https:// in the URL"),
        ("http", b"HTTP/1.1 403 \x1b[2JNo\r\n\r\n", "it refused to connect to mail.test:25 (status 403); it said", ""),
        ("http", b"HTTP/1.1 407 No\r\n\r\n", "it wants a user name and a password (status 407)", "they go into"),
    ],
)
def test_97_it_refuses(scheme: str, said: bytes, text: str, hint: str) -> None:
    """Its words are quoted, and what they would do to a terminal is not done."""
    with serve(answering(said)) as server:
        result = cfcat("--proxy", f"{scheme}://{server.address}", NAME)
    shown, advice = check_form(result.stderr)
    assert shown.replace('"', "").replace("'", "").startswith(f"proxy {server.address}: {text}")
    assert advice.startswith(hint)
    assert bool(advice) == bool(hint)
    assert result.status == 97


def test_97_it_hangs_up() -> None:
    """Named; and what it may mean."""
    with serve(Peer.end) as server:
        result = cfcat("--proxy", f"http://{server.address}", NAME)
    assert check_form(result.stderr) == (
        f"proxy {server.address}: it closed the connection instead of answering",
        "ssh -D ends so where it cannot reach the target, and others where they speak something else",
    )
    assert result.status == 97


def test_7_it_is_not_there() -> None:
    """Nor is its name."""
    with refusing() as port:
        result = cfcat("--proxy", f"socks5h://127.0.0.1:{port}", NAME)
    assert result == Result(b"", f"cfcat: proxy 127.0.0.1:{port}: connection refused\n", 7)
    result = cfcat("--proxy", "socks5h://a..b:1080", NAME)
    assert check_form(result.stderr)[0].startswith("proxy a..b:1080: ")
    assert result.status == 7


def test_6_the_target_is_not_found() -> None:
    """Where we resolve it."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--proxy", f"socks5://{server.address}", "a..b:25")
    assert check_form(result.stderr)[0].startswith("a..b:25: ")
    assert result.status == 6


@pytest.mark.parametrize("scheme", ["socks5h", "http", "https"])
@pytest.mark.parametrize("options", [[], ["--starttls", "smtp"], ["--tls", "on"]], ids=" ".join)
def test_28_it_is_silent(scheme: str, options: list[str]) -> None:
    """Whose silence it was."""
    with serve(Peer.hang) as server:
        result = cfcat("--proxy", f"{scheme}://{server.address}", "--connect-timeout", "0.3", *options, NAME)
    missing = "the TLS handshake was not complete" if scheme == "https" else "no answer"
    text = f"cfcat: proxy {server.address}: {missing} after 0.3 s\n  hint: --connect-timeout SECS waits longer\n"
    assert result == Result(b"", text, 28)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("expired", "whoever runs the server has to renew it"),
        ("untrusted", "--proxy-cacert FILE trusts another authority"),
        ("wrong_host", "the URL has to name the proxy as its certificate does"),
    ],
)
def test_60_its_certificate_is_not_trusted(kind: Any, hint: str, certs: CertSet) -> None:
    """It is named, hears of no target, and the target's own options do not help."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(kind), may_fail=True)

    with serve(script) as server:
        url = f"https://us:s3cret@{server.address}"
        options: list[Argument] = ["--proxy", url, "--proxy-cacert", certs.ca, "--tls", "on", "--cacert", certs.ca]
        result = cfcat(*options, NAME)
    text, advice = check_form(result.stderr)
    assert text.startswith(f"proxy {server.address}: certificate not trusted: ")
    assert advice.startswith(hint)
    assert "-k" not in advice
    assert (result.status, server.received) == (60, b"")


def test_35_it_has_no_tls() -> None:
    """What it said in clear text."""
    with serve(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        result = cfcat("--proxy", f"https://{server.address}", NAME)
    text, hint = check_form(result.stderr)
    assert text.startswith(f"proxy {server.address}: peer does not speak TLS; it said ")
    assert (hint, result.status) == ("http:// in the URL, if it takes no TLS", 35)


@pytest.mark.parametrize("cacert", ["/nowhere", "/dev/null"])
def test_77_its_authorities_cannot_be_used(cacert: str) -> None:
    """Before anything is connected to."""
    result = cfcat("--proxy", "https://localhost:1", "--proxy-cacert", cacert, NAME)
    assert check_form(result.stderr)[0].startswith(f"cannot use the file of authorities {cacert}: ")
    assert result.status == 77


@pytest.mark.parametrize(
    ("options", "text", "hint"),
    [
        (["--proxy", "gate:1080"], "--proxy: the URL of a proxy begins with its scheme: ", URLS),
        (["--proxy", "socks://gate"], "--proxy: the scheme of a proxy is one of socks5, socks5h, ", URLS),
        (["--proxy", "http://us:s3cret@"], "--proxy: the URL of a proxy has no host", URLS),
        (["--proxy", "socks4://us:s3cret@gate"], "--proxy: SOCKS 4 has user names, and no passwords", URLS),
        (["--proxy", ""], "--proxy: the URL of a proxy begins with its scheme: ", URLS),
        (["--proxy", "http://gate", "--workers"], "--workers excludes --proxy: ", ""),
        (["--proxy", "env", "--workers"], "--workers excludes --proxy: ", ""),
        (["--proxy", "http://gate", "--check-workers"], "--check-workers does not connect: --proxy has no meaning", ""),
        (["--proxy-cacert", "x"], "--proxy-cacert needs --proxy", ""),
        (["--proxy", "http://gate", "--proxy-cacert", "x"], "--proxy-cacert is for an https proxy", ""),
        (["--proxy", "http://gate", "-l"], "-l excludes --proxy: ", ""),
        (["--proxy", "socks4://127.0.0.1:1", "-6"], "SOCKS 4 has no IPv6 addresses; socks5:// has", ""),
    ],
)
def test_2_usage(options: list[str], text: str, hint: str, command: Command) -> None:
    """Before anything is connected to, and without a word of what may be a password."""
    status, stderr = command.run([*options, "127.0.0.1:1"])
    said, advice = check_form(stderr)
    assert said.startswith(text)
    assert (advice, status) == (hint, 2)
    assert "s3cret" not in stderr


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
def test_2_socks_4_and_an_ipv6_address(scheme: str) -> None:
    """It has no way to say one."""
    result = cfcat("--proxy", f"{scheme}://127.0.0.1:1", "::1", "25")
    assert result == Result(b"", "cfcat: [::1]:25: SOCKS 4 has no IPv6 addresses; socks5:// has\n", 2)


# ------------------------------------------------------------------------------------------ credentials


def heard_by(answer: Callable[[Peer], object], *options: Argument, env: dict[str, str | None]) -> tuple[Result, bytes]:
    with serve(answer) as server:
        result = cfcat(*(str(option).replace("PROXY", server.address) for option in options), NAME, env=env)
    return result, server.received


def test_credentials_of_the_environment() -> None:
    """Those of the URL count first."""
    env: dict[str, str | None] = {"CFCAT_PROXY_USER": "us", "CFCAT_PROXY_PASSWORD": "s3cret"}
    _, heard = heard_by(answering(b"HTTP/1.1 407 No\r\n\r\n"), "--proxy", "http://PROXY", env=env)
    assert b"\r\nProxy-Authorization: Basic dXM6czNjcmV0\r\n" in heard
    _, heard = heard_by(answering(b"HTTP/1.1 407 No\r\n\r\n"), "--proxy", "http://a:b@PROXY", env=env)
    assert b"\r\nProxy-Authorization: Basic YTpi\r\n" in heard
    result, heard = heard_by(answering(b"\0\x5b" + bytes(6)), "--proxy", "socks4a://PROXY", env=env)
    assert heard.startswith(b"\x04\x01\x00\x19\x00\x00\x00\x01us\x00mail.test\x00")  # it knows no passwords
    assert result.status == 97


@pytest.mark.parametrize(
    ("given", "encoded"),
    [
        ("a:", b"YTo="),
        (":a", b"OmE="),
        ("user:sss", b"dXNlcjpzc3M="),
        ("user:ssss", b"dXNlcjpzc3Nz"),
        ("user:~~~", b"dXNlcjp+fn4="),
        ("user:~~~~~", b"dXNlcjp+fn5+fg=="),
        ("us%20er:p%40ss%2F", b"dXMgZXI6cEBzcy8="),
    ],
)
def test_credentials_of_the_url_in_base64(given: str, encoded: bytes) -> None:
    """Of every length, with every bit, and percent-decoded; either part may be empty."""
    _, heard = heard_by(answering(b"HTTP/1.1 407 No\r\n\r\n"), "--proxy", f"http://{given}@PROXY", env={})
    assert b"\r\nProxy-Authorization: Basic " + encoded + b"\r\n" in heard


def test_a_short_answer_is_waited_for_and_nothing_more_is_said() -> None:
    """One byte of two: the target is not asked for before the rest is there."""
    with serve(answering(b"\x05")) as server:
        result = cfcat("--proxy", f"socks5h://{server.address}", "--connect-timeout", "0.3", NAME)
    assert (result.status, server.received) == (28, b"\x05\x01\x00")


def test_a_password_is_asked_for_on_the_terminal() -> None:
    """stdin has data; nothing that is typed is shown."""
    with serve(answering(b"HTTP/1.1 407 No\r\n\r\n")) as server:
        with terminal("--pipe", "--proxy", f"http://us@{server.address}", NAME) as term:
            term.expect(f"password of us at {server.address}: ")
            term.type("s3cret\n")
            term.expect("it refused the user name and the password")
            assert term.finish() == 97
            assert not any("s3cret" in line for line in term.lines())
        assert b"Basic dXM6czNjcmV0" in server.received


def test_without_a_terminal_a_password_is_an_error() -> None:
    """2, and nothing is connected to."""
    result = cfcat("--proxy", "http://us@127.0.0.1:1", NAME, by=["setsid", "-w"])
    text = "cfcat: --proxy: no password is given for 127.0.0.1:1, and there is no terminal to ask for it\n"
    assert result == Result(b"", text, 2)


def test_credentials_are_in_no_output(tmp_path: Path) -> None:
    """Neither in -v, --json and the transcript, nor in a traceback; nor their encoded form."""
    log = tmp_path / "log"
    url = "http://us:s3cret@PROXY"
    options = ["--proxy", url, "-vvv", "--json", "--log", str(log)]
    for script in (to_echo("http"), answering(b"HTTP/1.1 407 No\r\n\r\n")):
        result, heard = heard_by(script, *options, env={"CFCAT_DEBUG": "1"})
        assert b"" in heard
        for secret in ("s3cret", "czNjcmV0", "dXM6"):
            assert secret not in result.stderr + log.read_text()


# -------------------------------------------------------------------------------------- --proxy env


NOT_ASKED = {
    name: "http://us:s3cret@127.0.0.1:1"
    for each in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
    for name in (each, each.lower())
}


@pytest.mark.parametrize(
    ("options", "stdin", "stdout"),
    [
        ([], b"", b"hello\n"),
        (["-z", "--wait", "2"], b"", b""),
        (["--repl"], b":expect hello\n:open\n:expect hello\n", b"hello\nhello\n"),
        (["--tls", "on"], b"", b"hello\n"),
        (["--replay"], b"", b""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_environment_is_not_looked_at_unasked(
    options: list[str], stdin: bytes, stdout: bytes, certs: CertSet, tmp_path: Path
) -> None:
    """Without `--proxy env` a proxy of the environment changes nothing, and no output names it."""

    def script(conn: Peer) -> None:
        if "--tls" in options:
            conn.start_tls(certs.server_context())
        conn.send(b"hello\n")
        if "-z" in options:
            conn.recv_until_eof()

    given: list[Argument] = [*options]
    if "--tls" in options:
        given += ["--cacert", certs.ca]
    with serve(script) as server:
        if "--replay" in options:
            assert cfcat("--log", tmp_path / "log", server.address).status == 0
            given += [tmp_path / "log"]
        result = cfcat("-vvv", *given, f"localhost:{server.port}", stdin=stdin, env=NOT_ASKED)
    assert (result.stdout, result.status) == (stdout, 0)
    assert "proxy" not in result.stderr.lower()
    assert "s3cret" not in result.stderr


def test_the_tap_does_not_look_at_the_environment_unasked() -> None:
    """Nor does its connection to the server go anywhere else."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    with serve(lambda conn: conn.send(b"hello\n")) as server:
        with start("-v", "--tap", str(address[1]), "--once", server.address, env=NOT_ASKED) as tap:
            tap.read_stderr_until("listening on ")
            with socket.create_connection(address, 5) as client:
                assert client.recv(100) == b"hello\n"
            result = finish(tap)
    assert "proxy" not in result.stderr.lower()
    assert result.status == 0


def test_the_environment_names_a_proxy() -> None:
    """For all; without a scheme it is HTTP's."""
    with serve(to_echo("http")) as server:
        assert cfcat("--proxy", "env", NAME, stdin=b"ping", env={"ALL_PROXY": server.address}).stdout == b"ping"


def test_the_environment_names_none() -> None:
    """Or none for this target: it is connected to directly."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        for env in ({}, {"HTTPS_PROXY": "http://x"}, {"ALL_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.0/8"}):
            assert cfcat("--proxy", "env", server.address, env=env) == Result(b"hello", "", 0)


def test_https_proxy_is_for_tls(certs: CertSet) -> None:
    """From the first byte."""
    with serve(Peer.end) as server:
        env: dict[str, str | None] = {"HTTPS_PROXY": f"socks5h://{server.address}"}
        assert cfcat("--proxy", "env", "--tls", "on", NAME, env=env).status == 97


def test_a_variable_that_names_no_proxy() -> None:
    """Which one it is, without what is in it."""
    result = cfcat("--proxy", "env", NAME, env={"ALL_PROXY": "ftp://us:s3cret@gate"})
    assert result.stderr.startswith("cfcat: --proxy env: ALL_PROXY: the scheme of a proxy is one of socks5, ")
    assert "s3cret" not in result.stderr
    assert result.status == 2


# --------------------------------------------------------------------------------------- what is shown


def test_v_names_each_hop() -> None:
    """The proxy, the target behind it, and both ends of the connection to the proxy."""
    with serve(to_echo("socks5h")) as server:
        result = cfcat("-v", "--proxy", f"socks5h://{server.address}", NAME, stdin=b"ping")
    first, second = result.stderr.splitlines()[:2]
    assert first.startswith(f"cfcat: {NAME} reached through socks5h://{server.address} in ")
    assert second.startswith(f"cfcat: connected to {server.address} from 127.0.0.1:")


def test_v_tells_the_tls_to_the_proxy(certs: CertSet) -> None:
    """It is not that of the target."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        to_echo("https")(conn)

    with serve(script) as server:
        options: list[Argument] = ["--proxy", f"https://{server.address}", "--proxy-cacert", certs.ca]
        result = cfcat("-v", *options, NAME, stdin=b"ping")
    assert ", under TLSv1.3, TLS_AES_256_GCM_SHA384\n" in result.stderr
    assert "TLS established" not in result.stderr
    assert result.stdout == b"ping"


def test_json_names_each_hop() -> None:
    """Also where it did not get further."""
    with serve(to_echo("http")) as server:
        result = cfcat("--json", "--proxy", f"http://{server.address}", NAME, stdin=b"ping")
    report = json.loads(result.stderr)
    assert report["target"] == NAME
    assert report["proxy"] == {"url": f"http://{server.address}", "tls": None, "bound_address": None}
    assert report["remote_address"] == server.address
    assert report["times"]["proxy"] > 0
    with serve(Peer.end) as server:
        result = cfcat("--json", "--proxy", f"http://{server.address}", NAME)
    report = json.loads(result.stderr)
    assert report["proxy"]["url"] == f"http://{server.address}"
    assert (report["status"], report["phase"], report["times"]["proxy"]) == (97, "connect", None)


# -------------------------------------------------------------------------------------------- sessions


def test_open_keeps_the_way_and_info_shows_it() -> None:
    """Another target, the same proxy."""
    asked: list[bytes] = []

    def script(conn: Peer) -> None:
        asked.append(conn.recv_until(b"\r\n\r\n").split()[1])
        conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        lines = b":info\n:open other.test:26\n:info\n"
        result = cfcat("--repl", "--proxy", f"http://us:s3cret@{server.address}", NAME, stdin=lines)
    assert result.status == 0
    assert asked == [b"mail.test:25", b"other.test:26"]
    assert result.stderr.count(f"remote: {server.address} (the proxy), local: 127.0.0.1:") == 2
    assert result.stderr.count(f"through: http://{server.address}\n") == 2
    assert "s3cret" not in result.stderr


def test_open_asks_the_environment_again() -> None:
    """Another target may be an exception."""
    with serve(lambda conn: granted("http", conn)) as server, serve(Peer.recv_until_eof) as direct:
        env: dict[str, str | None] = {"ALL_PROXY": server.address, "NO_PROXY": "127.0.0.1"}
        lines = f":info\n:open {direct.address}\n:info\n".encode()
        result = cfcat("--repl", "--proxy", "env", NAME, stdin=lines, env=env)
    assert result.status == 0
    assert (server.connections, direct.connections) == (1, 1)
    assert result.stderr.count("through: ") == 1


def test_a_proxy_on_this_machine_does_not_make_the_target_local() -> None:
    """A secret in clear text is asked about, although the connection's other end is loopback."""
    with serve(lambda conn: granted("socks5h", conn)) as server:
        result = cfcat("--repl", "--proxy", f"socks5h://{server.address}", "mail.test:110", stdin=b"PASS x\n")
    assert "it carries a secret, in clear text to mail.test:110" in result.stderr
    assert result.status == 1
    assert b"PASS" not in server.received


@pytest.mark.parametrize("line", [":set workers on", ":workers"])
def test_a_session_through_a_proxy_knows_no_workers(line: str) -> None:
    """A Worker would connect from elsewhere."""
    with serve(lambda conn: granted("http", conn)) as server:
        result = cfcat("--repl", "--proxy", f"http://{server.address}", NAME, stdin=f"{line}\n".encode())
    assert "the session goes through a proxy" in result.stderr
    assert result.status == 1
