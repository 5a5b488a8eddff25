"""The command line itself: its options, what is wrong with them in one clear line, and how the program is started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cfcat import __version__
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat, shell
from tests.program.command import HELP, Command, refuse
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

POSITIVE = "must be a number of seconds greater than 0"
NOT_NEGATIVE = "must be a number of seconds, 0 or more"


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
        (["--no-shutdown", "--shutdown", "now"], "--no-shutdown excludes --shutdown now"),
        (["--shutdown", "auto", "--no-shutdown"], "--no-shutdown excludes --shutdown auto"),
        (["--shutdown", "never", "--no-shutdown"], "--no-shutdown excludes --shutdown never"),
        (["--sni", "", "--tls", "on"], "--sni needs a name"),
        (["--helo", "a.example"], "--helo needs --starttls smtp or lmtp"),
        (["--helo", "a.example", "--tls", "on"], "--helo needs --starttls smtp or lmtp"),
        (["--helo", "a.example", "--starttls", "imap"], "--helo needs --starttls smtp or lmtp"),
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
        (["-w", "x"], "invalid value for '-w' / '--idle-timeout': 'x' is no number of seconds"),
        (["--wait", "2s"], "invalid value for '--wait': '2s' is no number of seconds"),
        (["-w", ""], "invalid value for '-w' / '--idle-timeout': '' is no number of seconds"),
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
    result = cfcat("☃.example:1", env={"LC_ALL": locale})
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


def test_the_parsers_own_completion_is_off() -> None:
    """Whatever is in the environment: ours are files of the shells."""
    result = cfcat("--version", env={"_CFCAT_COMPLETE": "complete_bash", "COMP_WORDS": "cfcat --", "COMP_CWORD": "1"})
    assert result.stdout.startswith(b"cfcat ")
    assert (result.stderr, result.status) == ("", 0)
