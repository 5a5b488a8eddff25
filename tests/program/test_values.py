"""Values of the command line: what makes no sense is refused in one clear line, before anything is connected."""

from __future__ import annotations

import pytest

from cfcat.errors import UsageError
from cfcat.program.values import check_profile, check_protocol
from cfcat.protocols import PROFILES, PROTOCOLS
from cfcat.report.render import escape
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat
from tests.program.command import Command, refuse
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

SERVICES = "a port is a number, or a name of /etc/services"
BAD_PORT = "the port must be a number from 1 to 65535"
FORMS = "cfcat example.com:443, cfcat 192.0.2.7:25, cfcat [2001:db8::7]:25"


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
        ("127.0.0.1:x", "'127.0.0.1:x': no service is called 'x'", SERVICES),
        ("127.0.0.1:0x19", "'127.0.0.1:0x19': no service is called '0x19'", SERVICES),
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
        ("user@{}", "'user@{}': expected host:port without a user", "cfcat {}"),
        ("\x1b[31m:{port}", r"'\x1b[31m:{port}': not a host:port", FORMS),
        (
            "☃.example:{port}",
            "'☃.example:{port}': not a host name: Codepoint U+2603 at position 1 of '☃' not allowed",
            "",
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


@pytest.mark.parametrize("host", ["[::1]", "::1"])
def test_ipv6_address_and_port_apart(host: str) -> None:
    """The brackets may be left out: nothing follows that could be taken for a part of the address."""
    with serve(lambda conn: conn.send(b"hello"), host="::1") as server:
        assert cfcat(host, str(server.port)) == Result(b"hello", "", 0)


@pytest.mark.parametrize(
    ("arguments", "text", "hint"),
    [
        (["{}", "{port}"], "two ports given: '{}' and '{port}'", "cfcat {}"),
        (["{}", "25"], "two ports given: '{}' and '25'", "cfcat {}"),
        (["127.0.0.1", "0"], f"'127.0.0.1:0': {BAD_PORT}", ""),
        (["127.0.0.1", "65536"], f"'127.0.0.1:65536': {BAD_PORT}", ""),
        (["127.0.0.1", "smpt"], "'127.0.0.1:smpt': no service is called 'smpt'", SERVICES),
        (["127.0.0.1", ""], "'127.0.0.1:': no port given", "cfcat 127.0.0.1:443"),
        (["127.0.0.1", " {port}"], "'127.0.0.1: {port}': a blank in the host name", ""),
        (["{port}", "127.0.0.1"], f"'{{port}}:127.0.0.1': {BAD_PORT}", ""),
        (["127.0.0.1", "{port}", "x"], "more than a host and a port: 'x'", "cfcat HOST PORT, or cfcat HOST:PORT"),
        (["--", "127.0.0.1", "-{port}"], f"'127.0.0.1:-{{port}}': {BAD_PORT}", ""),
    ],
)
def test_bad_host_and_port_apart(command: Command, arguments: list[str], text: str, hint: str) -> None:
    """The same messages as for a target in one piece, and one for too many ports."""
    command.check_refused(arguments, text, hint)


# --------------------------------------------------------------------------------------------- names of tables


def test_protocol() -> None:
    """The row of its name; any other is refused with all that there are."""
    assert check_protocol("imap") is PROTOCOLS["imap"]
    with pytest.raises(UsageError, match="--starttls: 'smpt' is not known") as caught:
        check_protocol("smpt")
    assert caught.value.hint == f"one of {', '.join(PROTOCOLS)}"


def test_profile() -> None:
    """Those of `--proto`, and "auto"."""
    assert [check_profile(name) for name in ("auto", *PROFILES)] == ["auto", *PROFILES]
    with pytest.raises(UsageError, match="--proto: 'smpt' is not known") as caught:
        check_profile("smpt")
    assert caught.value.hint == f"one of auto, {', '.join(PROFILES)}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("my_host", "my_host"),
        ("", ""),
        ("a.example\r\nMAIL FROM:<x>", r"a.example\x0d\x0aMAIL FROM:<x>"),
        ("\x1b[2J", r"\x1b[2J"),
        ("127.0.0.1]", "127.0.0.1]"),
        ("bücher.example", "bücher.example"),
    ],
)
def test_name_that_ehlo_cannot_say(command: Command, name: str, shown: str) -> None:
    """--helo: nothing but a domain or an address is ever said; the message escapes the rest."""
    hint = "a domain, or an address: [192.0.2.7], [IPv6:2001:db8::7]"
    arguments = ["--starttls", "smtp", "--helo", name, "{}"]
    command.check_refused(arguments, f"--helo: '{shown}' is no name for EHLO", hint)
