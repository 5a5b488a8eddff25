"""The command line itself: what makes no sense is refused in one clear line, before anything is connected."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cfcat import __version__
from cfcat.program.cli import run
from cfcat.report.render import escape
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.report.form import check_form

HELP = "cfcat --help"
BAD_PORT = "the port must be a number from 1 to 65535"
FORMS = "cfcat example.com:443, cfcat 192.0.2.7:25, cfcat [2001:db8::7]:25"
POSITIVE = "must be a number of seconds greater than 0"
NOT_NEGATIVE = "must be a number of seconds, 0 or more"


def refuse(conn: Peer) -> None:
    raise AssertionError("connected")


class Command:
    """Command lines run in this process, in milliseconds; what is special about a process has its own tests."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def run(self, arguments: list[str]) -> tuple[int, str]:
        """Return status and stderr; nothing may be on stdout."""
        status = run(arguments)
        stdout, stderr = self._capfd.readouterr()
        assert stdout == ""
        return status, stderr

    def check_refused(self, arguments: list[str], text: str, hint: str = "") -> None:
        """Status 2, and this message; nobody connects to the server, which is "{}" here, and its port "{port}"."""
        with serve(refuse) as server:

            def fill(template: str) -> str:
                return template.format(server.address, port=server.port)

            status, stderr = self.run([fill(argument) for argument in arguments])
            assert server.connections == 0
        expected = f"cfcat: {fill(text)}\n" + (f"  hint: {fill(hint)}\n" if hint else "")
        assert (stderr, status) == (expected, 2)
        check_form(stderr)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line, without a process of its own."""
    return Command(capfd)


# ------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("target", "text", "hint"),
    [
        ("127.0.0.1", "'127.0.0.1': no port given", "cfcat 127.0.0.1:443"),
        ("localhost:", "'localhost:': no port given", "cfcat localhost:443"),
        ("[::1]", "'[::1]': no port given", "cfcat [::1]:443"),
        ("http://{}/", "'http://{}/': expected host:port, not a URL", "cfcat {}"),
        ("https://{}/x?y", "'https://{}/x?y': expected host:port, not a URL", "cfcat {} --tls on"),
        ("https://127.0.0.1/", "'https://127.0.0.1/': expected host:port, not a URL", "cfcat 127.0.0.1:443 --tls on"),
        ("127.0.0.1:0", f"'127.0.0.1:0': {BAD_PORT}", ""),
        ("127.0.0.1:65536", f"'127.0.0.1:65536': {BAD_PORT}", ""),
        ("127.0.0.1:99999999999999999999", f"'127.0.0.1:99999999999999999999': {BAD_PORT}", ""),
        ("127.0.0.1:x", f"'127.0.0.1:x': {BAD_PORT}", ""),
        ("127.0.0.1:http", f"'127.0.0.1:http': {BAD_PORT}", ""),
        ("127.0.0.1:-1", f"'127.0.0.1:-1': {BAD_PORT}", ""),
        ("127.0.0.1:+{port}", f"'127.0.0.1:+{{port}}': {BAD_PORT}", ""),
        ("::1", "'::1': more than one colon: an IPv6 address goes in brackets", "cfcat [::1]:PORT"),
        ("::1:{port}", "'::1:{port}': more than one colon: an IPv6 address goes in brackets", "cfcat [::1]:{port}"),
        ("{}:25", "'{}:25': more than one colon: an IPv6 address goes in brackets", ""),
        (" {}", "' {}': a blank in the host name", ""),
        ("{} ", "'{} ': a blank in the host name", ""),
        ("local host:{port}", "'local host:{port}': a blank in the host name", ""),
        ("local\thost:{port}", r"'local\x09host:{port}': a blank in the host name", ""),
        ("{}\n", r"'{}\x0a': a blank in the host name", ""),
        ("", "no target given", "cfcat HOST:PORT"),
        (":{port}", "':{port}': no host given", "cfcat localhost:{port}"),
        ("[::1:{port}", "'[::1:{port}': not a host:port", FORMS),
        ("[localhost]:{port}", "'[localhost]:{port}': not a host:port", FORMS),
        ("user@{}", "'user@{}': not a host:port", FORMS),
        ("\x1b[31m:{port}", r"'\x1b[31m:{port}': not a host:port", FORMS),
        (
            "bücher.example:{port}",
            "'bücher.example:{port}': only ASCII is allowed in a host name",
            "use its xn--… form",
        ),
    ],
)
def test_bad_target(command: Command, target: str, text: str, hint: str) -> None:
    """What is wrong with it, and what was probably meant."""
    command.check_refused([target], text, hint)


def test_bad_target_by_a_real_process() -> None:
    """The same through a shell's eyes."""
    with serve(refuse) as server:
        result = cfcat(f"https://{server.address}/", stdin=b"data")
        assert server.connections == 0
    text = f"cfcat: 'https://{server.address}/': expected host:port, not a URL\n"
    assert result == Result(b"", f"{text}  hint: cfcat {server.address} --tls on\n", 2)


def test_too_long_target(command: Command) -> None:
    """Named by its beginning."""
    command.check_refused(["x" * 300 + ":{port}"], f"'{'x' * 59}…': longer than 255 characters")


@pytest.mark.parametrize("target", ["local\0host:1", "\0", "localhost:1\0", "localhost:\0001"])
def test_nul_in_the_target(command: Command, target: str) -> None:
    """No program can be given one; a caller of the parser can, and gets one line too."""
    status, stderr = command.run([target])
    assert status == 2
    text, _ = check_form(stderr)
    assert r"\x00" in text


def test_nul_in_a_file_name(command: Command) -> None:
    """As in the target, with the status of its option."""
    with serve(refuse) as server:
        status, stderr = command.run(["--tls", "on", "--cacert", "a\0b", server.address])
        assert server.connections == 0
    assert status == 77
    check_form(stderr)


@pytest.mark.parametrize("name", ["a b", "a\tb", "\n", " ", "a\x1bb", "a\0b", ".test", "a..b", "a.test..", 64 * "x"])
def test_impossible_name_for_tls(command: Command, name: str) -> None:
    """Nothing has such a name: it is refused like one in the target, before connecting."""
    with serve(Peer.close) as server:
        status, stderr = command.run(["--tls", "on", "--sni", name, server.address])
        assert server.connections == 0
    assert status == 2
    text, _ = check_form(stderr)
    assert f"'{escape(name)}'" in text


def test_no_target(command: Command) -> None:
    """The form of what is missing."""
    command.check_refused([], "no target given", "cfcat HOST:PORT, or cfcat --help")


# ------------------------------------------------------------------------------------------ nc's habit: host port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_host_and_port_apart(host: str) -> None:
    """`cfcat host 25` works too."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        assert cfcat(host, str(server.port)) == Result(b"hello", "", 0)


def test_ipv6_address_and_port_apart() -> None:
    """In brackets, as everywhere."""
    with serve(lambda conn: conn.send(b"hello"), host="::1") as server:
        assert cfcat("[::1]", str(server.port)) == Result(b"hello", "", 0)


@pytest.mark.parametrize(
    ("arguments", "text", "hint"),
    [
        (["{}", "{port}"], "two ports given: '{}' and '{port}'", "cfcat {}"),
        (["{}", "25"], "two ports given: '{}' and '25'", "cfcat {}"),
        (["127.0.0.1", "0"], f"'127.0.0.1:0': {BAD_PORT}", ""),
        (["127.0.0.1", "65536"], f"'127.0.0.1:65536': {BAD_PORT}", ""),
        (["127.0.0.1", "smtp"], f"'127.0.0.1:smtp': {BAD_PORT}", ""),
        (["127.0.0.1", ""], "'127.0.0.1:': no port given", "cfcat 127.0.0.1:443"),
        (["127.0.0.1", " {port}"], "'127.0.0.1: {port}': a blank in the host name", ""),
        (
            ["::1", "{port}"],
            "'::1:{port}': more than one colon: an IPv6 address goes in brackets",
            "cfcat [::1]:{port}",
        ),
        (["{port}", "127.0.0.1"], f"'{{port}}:127.0.0.1': {BAD_PORT}", ""),
        (["127.0.0.1", "{port}", "x"], "got unexpected extra argument(s) (x)", HELP),
        (["--", "127.0.0.1", "-{port}"], f"'127.0.0.1:-{{port}}': {BAD_PORT}", ""),
    ],
)
def test_bad_host_and_port_apart(command: Command, arguments: list[str], text: str, hint: str) -> None:
    """The same messages as for a target in one piece, and one for too many ports."""
    command.check_refused(arguments, text, hint)


# ------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-4", "-6"], "-4 and -6 exclude each other"),
        (["-46"], "-4 and -6 exclude each other"),
        (["--sni", "localhost"], "--sni needs --tls on"),
        (["--sni", "localhost", "--tls", "off"], "--sni needs --tls on"),
        (["--cacert", "/dev/null"], "--cacert needs --tls on"),
        (["-k"], "-k needs --tls on"),
        (["--insecure"], "-k needs --tls on"),
        (["-k", "--cacert", "/dev/null", "--tls", "on"], "-k and --cacert exclude each other"),
        (["--sni", "", "--tls", "on"], "--sni needs a name"),
    ],
)
def test_options_that_exclude_each_other(command: Command, arguments: list[str], text: str) -> None:
    """An error, never ignored; before -k warns of anything and before a file is read."""
    command.check_refused([*arguments, "{}"], text)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "-0.001", "1e999"])
@pytest.mark.parametrize(
    ("option", "name", "text"),
    [
        ("-w", "'-w' / '--idle-timeout'", POSITIVE),
        ("--idle-timeout", "'-w' / '--idle-timeout'", POSITIVE),
        ("-q", "'-q' / '--quit-after'", NOT_NEGATIVE),
        ("--quit-after", "'-q' / '--quit-after'", NOT_NEGATIVE),
        ("--connect-timeout", "'--connect-timeout'", POSITIVE),
    ],
)
def test_impossible_time(command: Command, option: str, name: str, text: str, value: str) -> None:
    """No time at all, for ever, or before now."""
    command.check_refused([option, value, "{}"], f"invalid value for {name}: {text}", HELP)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-w", "0"], f"invalid value for '-w' / '--idle-timeout': {POSITIVE}"),
        (["--connect-timeout", "0"], f"invalid value for '--connect-timeout': {POSITIVE}"),
        (["-w", "x"], "invalid value for '-w' / '--idle-timeout': 'x' is not a valid float"),
        (["-w", ""], "invalid value for '-w' / '--idle-timeout': '' is not a valid float"),
        (["--tls", "maybe"], "invalid value for '--tls': 'maybe' is not one of 'off', 'on', 'starttls'"),
        (["--tls", ""], "invalid value for '--tls': '' is not one of 'off', 'on', 'starttls'"),
        (["--no-shutdown=1"], "option '--no-shutdown' does not take a value"),
        (["--xyzzy"], "no such option: --xyzzy"),
        (["-Z"], "no such option: -Z"),
        (["-4Z"], "no such option: -Z"),
    ],
)
def test_bad_option(command: Command, arguments: list[str], text: str) -> None:
    """Which one, and what is wrong with it."""
    command.check_refused([*arguments, "{}"], text, HELP)


@pytest.mark.parametrize("option", ["-w", "-q", "--connect-timeout", "--tls", "--sni", "--cacert"])
def test_option_without_its_value(command: Command, option: str) -> None:
    """At the end of the line."""
    command.check_refused(["{}", option], f"option '{option}' requires an argument", HELP)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("--half", "--half-open"), ("--half-opn", "--half-open"), ("--tsl", "--tls"), ("--cacrt", "--cacert")],
)
def test_misspelt_option(command: Command, typed: str, meant: str) -> None:
    """What is nearest is suggested."""
    with serve(refuse) as server:
        status, stderr = command.run([typed, server.address])
        assert server.connections == 0
    text, _ = check_form(stderr)
    assert status == 2
    assert text.startswith(f"no such option: {typed}")
    assert meant in stderr


def test_time_of_zero_for_quit_after() -> None:
    """The one time that may be nothing: leave at once."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat("-q", "0", server.address) == Result(b"", "", 0)


def test_very_long_times() -> None:
    """More seconds than there will be are a number like any other."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("-w", "1e300", "-q", "1e300", "--connect-timeout", "1e300", server.address)
    assert result == Result(b"", "", 0)


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
    assert (stderr, status) == (f"cfcat: cannot use the file of authorities {name}: {text}\n", 77)
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


# --------------------------------------------------------------------------------------------- dashes


def test_double_dash_before_the_target() -> None:
    """It ends the options, and nothing else."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        assert cfcat("-4", "--", server.address) == Result(b"hello", "", 0)
        assert cfcat("--", "127.0.0.1", str(server.port)) == Result(b"hello", "", 0)


def test_an_option_that_nearly_exists() -> None:
    """What was probably meant is in the hint."""
    result = cfcat("--jsn", "localhost:1")
    assert result == Result(b"", f"cfcat: no such option: --jsn\n  hint: --json; {HELP}\n", 2)


def test_target_that_begins_with_a_dash() -> None:
    """Without `--` it is an option that does not exist; with it, a name that does not."""
    with serve(refuse) as server:
        result = cfcat(f"-y:{server.port}")
        assert result == Result(b"", f"cfcat: no such option: -y\n  hint: {HELP}\n", 2)
        result = cfcat("--", f"-y:{server.port}")
        assert (result.stdout, result.status) == (b"", 6)
        assert result.stderr.startswith(f"cfcat: -y:{server.port}: ")
        assert server.connections == 0
    check_form(result.stderr)


def test_option_behind_the_target() -> None:
    """Options may come in any place."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        assert cfcat(server.address, "-4", "-w", "5") == Result(b"hello", "", 0)


# --------------------------------------------------------------------------------------- help and version


def test_version() -> None:
    """Name and version on stdout, whatever else is on the line."""
    expected = Result(f"cfcat {__version__}\n".encode(), "", 0)
    assert cfcat("-V") == cfcat("--version") == cfcat("-V", "nonsense", "--tls", "on") == expected


def test_help() -> None:
    """Every option with a line on it, on stdout, for a terminal of 80 columns."""
    result = cfcat("-h")
    assert (result.stderr, result.status) == ("", 0)
    assert cfcat("--help") == cfcat("-h", "nonsense") == result
    text = result.stdout.decode()
    assert text.startswith("Usage: cfcat [OPTIONS] ")
    for option in ("--half-open", "-4", "-6", "--connect-timeout", "-w, --idle-timeout", "--no-shutdown", "--raw"):
        assert option in text
    for option in ("-q, --quit-after", "--tls", "--sni", "--cacert", "-k, --insecure", "-V, --version", "-h, --help"):
        assert option in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


@pytest.mark.parametrize("option", ["-h", "-V"])
def test_reader_of_help_leaves(option: str) -> None:
    """`cfcat -h | head -1` ends as any other program does: silently, by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    with start(option, stdout=write) as program:
        os.close(write)
        program.wait(10)
        result = finish(program)
    assert (result.status, result.stderr) == (-13, "")


# ------------------------------------------------------------------------------------ how it is started


@pytest.mark.parametrize("arguments", ["-V", "-h", "nonsense", ""])
def test_program_and_module_are_alike(arguments: str) -> None:
    """`cfcat` and `python -m cfcat`: the same words, the same name, the same status."""
    assert shell(f"cfcat {arguments}") == cfcat(*arguments.split())


def test_program_and_module_connect_alike() -> None:
    """And the same connection."""
    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        assert shell(f"cfcat {server.address}", stdin=b"hello") == Result(b"hello", "", 0)
        assert cfcat(server.address, stdin=b"hello") == Result(b"hello", "", 0)


@pytest.mark.parametrize("flags", ["-X dev -W error", "-OO -u", "-I"])
def test_interpreter_flags(flags: str) -> None:
    """No warning of ours appears where warnings are shown, and nothing depends on assertions or buffers."""
    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        result = shell(f"{sys.executable} {flags} -m cfcat {server.address}", stdin=b"hello")
    assert result == Result(b"hello", "", 0)
    with refusing() as port:
        result = shell(f"{sys.executable} {flags} -m cfcat 127.0.0.1:{port}", stdin=b"hello")
    assert result == Result(b"", f"cfcat: 127.0.0.1:{port}: connection refused\n", 7)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "xx_XX.nonsense"])
def test_locale(locale: str) -> None:
    """Data is bytes, and a message is text that any locale can print."""
    data = bytes(range(256))
    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        assert cfcat(server.address, stdin=data, env={"LC_ALL": locale}) == Result(data, "", 0)
    result = cfcat("bücher.example:1", env={"LC_ALL": locale})
    assert result.status == 2
    check_form(result.stderr)


def test_files_in_the_current_folder_are_not_modules(tmp_path: Path, certs: CertSet) -> None:
    """Row 94: somebody's ssl.py is not ours."""
    for name in ("ssl", "asyncio", "typer", "socket", "signal", "cfcat"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"hello")

    with serve(script) as server:
        result = shell(
            f"cd {tmp_path} && cfcat --tls on --cacert {certs.ca} {server.address}", env={"PYTHONSAFEPATH": None}
        )
    assert result == Result(b"hello", "", 0)


# ----------------------------------------------------------------------------------------------- tracebacks


@pytest.mark.parametrize("arguments", [["nonsense"], ["--tls", "on", "--cacert", "/nowhere", "a:1"], ["a..b:1"]])
def test_traceback_for_who_wants_it(arguments: list[str]) -> None:
    """CFCAT_DEBUG=1 shows where the error comes from, before the message; without it nothing does."""
    plain = cfcat(*arguments)
    assert "Traceback" not in plain.stderr
    debugged = cfcat(*arguments, env={"CFCAT_DEBUG": "1"})
    assert debugged.stderr.startswith("Traceback (most recent call last):\n")
    assert debugged.stderr.endswith(plain.stderr)
    assert (debugged.stdout, debugged.status) == (b"", plain.status)
