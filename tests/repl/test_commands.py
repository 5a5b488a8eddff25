"""What a line of a session means: text, commands, their arguments, and what is said of mistakes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfcat.core.choices import SECURE_TRANSPORTS, SecureTransport
from cfcat.edges.heard import RECENT_BYTES
from cfcat.errors import CommandError
from cfcat.protocols import PROFILES, PROTOCOLS
from cfcat.repl.actions import ACTIONS, DEFAULT_QUIET_S
from cfcat.repl.arguments import (
    Reopening,
    parse_dump,
    parse_eol,
    parse_expect,
    parse_hex,
    parse_log,
    parse_open,
    parse_path,
    parse_protocol,
    parse_reply,
    parse_seconds,
    parse_set,
    parse_view,
    parse_wait,
    sent_by,
    unescape,
)
from cfcat.repl.commands import COMMANDS, Call, Line, help_lines, parse
from cfcat.repl.expecting import DEFAULT_WAIT_S
from cfcat.repl.settings import EOLS, SETTINGS, VIEWS
from cfcat.report.messages import explain, status_of
from cfcat.report.status import ExitStatus
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

unhurried = settings(deadline=None)
# Whatever can be typed or read: also bytes that are no UTF-8, as they come from a file.
TYPED = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff:\\ \t-"))


def refusal(error: CommandError) -> tuple[str, str]:
    """Text and hint, in the form that all messages have."""
    assert status_of(error) is ExitStatus.EXPECT
    return check_form(str(explain(error, "mail.example:25")))


def check_one_line(error: CommandError) -> None:
    """What was typed may have quoted anything, such as the name of a class; it is printable and on one line."""
    text, hint = explain(error, "mail.example:25")
    assert text
    assert (text + hint).isprintable()


def said_of(line: str) -> tuple[str, str]:
    """What is said of a line that is a mistake."""
    with pytest.raises(CommandError) as caught:
        parse(line)
    return refusal(caught.value)


# ------------------------------------------------------------------------------------------------- lines


def test_commands_are_those_of_the_design() -> None:
    """Each one, its aliases among them, by its name without the colon; and `:workers`, `:export`."""
    names = "starttls tls cert send hex file secret eof close open view eol crlf lf log pcap export info set workers"
    waiting = "wait reply expect sleep timeout # echo dump"
    assert list(COMMANDS) == [*names.split(), *waiting.split(), "help", "quit"]
    assert all(command.name == name and command.usage.startswith(f":{name}") for name, command in COMMANDS.items())
    kinds = {"file", "target", "command", "setting"}
    assert {command.arguments for command in COMMANDS.values() if isinstance(command.arguments, str)} == kinds
    words = {name: command.arguments for name, command in COMMANDS.items() if isinstance(command.arguments, tuple)}
    assert {name: given for name, given in words.items() if given} == {
        "starttls": tuple(PROTOCOLS),
        "view": VIEWS,
        "eol": tuple(EOLS),
    }


def test_every_command_does_something() -> None:
    """A row has its action, but for an alias; and an action its row."""
    assert set(ACTIONS) == {name for name, command in COMMANDS.items() if not command.stands_for}


@pytest.mark.parametrize("line", ["", "EHLO me", " :quit", "a:b", "\t", "ГОСТ ", "x\\r", "\udc80"])
def test_text_is_text(line: str) -> None:
    """What does not begin with a colon is sent as it was typed: no escapes, no blanks taken away."""
    assert parse(line) == Line(line)


@pytest.mark.parametrize("line", ["::", "::x", ":::", "::quit", ":: x "])
def test_two_colons_send_one(line: str) -> None:
    """`::x` sends `:x`: what IRC servers need, and no command."""
    assert parse(line) == Line(line[1:])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_known(name: str) -> None:
    """Each is called by its own name, but for an alias."""
    command = COMMANDS[name]
    line = f":{name} x" if command.missing else f":{name}"
    call = parse(line)
    assert isinstance(call, Call)
    if command.stands_for:
        assert call == parse(command.stands_for)
    else:
        assert call == Call(command, "x" if command.missing else "")


def test_aliases() -> None:
    """:crlf and :lf are :eol with its argument: nobody else knows of them."""
    assert parse(":crlf") == Call(COMMANDS["eol"], "crlf")
    assert parse(":lf ") == Call(COMMANDS["eol"], "lf")


@pytest.mark.parametrize(
    ("line", "argument"),
    [
        (":send x", "x"),
        (":send  x ", " x "),
        (":send\tx", "x"),
        (":send  ", " "),
        (":file  my file ", "my file"),
        (":file -m  my file ", "-m  my file"),
        (":open", ""),
        (":open \t", ""),
        (":expect  login: ", " login: "),
        (":starttls  smtp ", "smtp"),
        (":hex 0d\n0a", "0d\n0a"),
        (":help :send", ":send"),
    ],
)
def test_arguments_begin_after_the_name(line: str, argument: str) -> None:
    """Of :send and :expect every blank but the first counts, of all others none at either end."""
    call = parse(line)
    assert isinstance(call, Call)
    assert call.argument == argument


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        (":stattls", [":starttls"]),
        (":startls smtp", [":starttls"]),
        (":starttlss", [":starttls"]),
        (":QUIT", [":quit"]),
        (":Quit", [":quit"]),
        (":exit", [":quit"]),
        (":bye", [":quit"]),
        (":logout", [":quit"]),
        (":status", [":info"]),
        (":ssl", [":starttls"]),
        (":until x", [":expect"]),
        (":?", [":help"]),
        (":hlep", [":help"]),
        (":connect h:1", [":open"]),
        (":disconnect", [":close"]),
        (":vew hex", [":view"]),
        (":q", [":quit"]),
        (":st", [":starttls"]),
        (":e", [":eof", ":eol", ":export", ":expect", ":echo"]),
    ],
)
def test_mistyped_command_is_answered_with_the_nearest(line: str, nearest: list[str]) -> None:
    """Neither other spellings nor abbreviations are guessed; the hint has what may have been meant."""
    name = line.split()[0]
    text, hint = said_of(line)
    assert text == f"{name} is not a command; nothing was sent"
    asked, _, rest = hint.partition("? ")
    assert re.split(", | or ", asked.removeprefix("did you mean ")) == nearest
    assert rest == f":{name} sends it as it is"


@pytest.mark.parametrize("line", [":xyzzy", ":001", ":irc.example NOTICE", ":)", ":\x1b[2J", ":" + "y" * 500])
def test_what_is_like_no_command_gets_the_list(line: str) -> None:
    """The name is quoted safely and in part, and there is a way to send it."""
    text, hint = said_of(line)
    assert text.endswith(" is not a command; nothing was sent")
    assert hint.startswith(":help lists the commands; ::")
    assert len(text) < 120


@pytest.mark.parametrize("line", [":", ": ", ": quit", ":\t"])
def test_colon_alone(line: str) -> None:
    """No command at all, and no guess which."""
    assert said_of(line) == ("a colon without a command", ":help lists the commands; :: sends a colon")


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.takes_argument])
def test_argument_too_many(name: str) -> None:
    """One clear line for each command that takes none."""
    assert said_of(f":{name} now") == (f":{name} takes no argument", f":help {name}")


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.missing])
def test_argument_missing(name: str) -> None:
    """One clear line for each command that needs one, and the way to its help."""
    text, hint = said_of(f":{name}")
    assert text.startswith(f":{name} needs ")
    assert hint == f":help {name}"
    assert "[" not in text


def test_what_needs_an_argument() -> None:
    """All but those whose usage has it in brackets."""
    needing = {name: command.missing for name, command in COMMANDS.items() if command.missing}
    assert needing == {
        "send": "TEXT",
        "hex": "BYTES",
        "file": "PATH",
        "view": "text|hex|raw",
        "eol": "crlf|lf|cr|none",
        "log": "FILE|off",
        "pcap": "FILE|off",
        "export": "FILE",
        "reply": "REGEX",
        "expect": "REGEX",
        "sleep": "SECS",
        "timeout": "SECS",
    }


@unhurried
@given(TYPED)
@example(":\n")
def test_any_line_is_text_or_a_call_or_a_mistake(line: str) -> None:
    """No line breaks the parser; what begins with one colon is never text."""
    try:
        parsed = parse(line)
    except CommandError as error:
        check_one_line(error)
        assert line.startswith(":")
    else:
        if isinstance(parsed, Line):
            assert parsed.text == line.removeprefix(":")
            assert not line.startswith(":") or line.startswith("::")
        else:
            assert line[1:].startswith(tuple(COMMANDS))


@unhurried
@given(TYPED)
def test_any_text_can_be_sent(text: str) -> None:
    """A colon before a colon is all the quoting there is."""
    assert parse(f":{text}" if text.startswith(":") else text) == Line(text)


# ------------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("EHLO me\\r\\n", b"EHLO me\r\n"),
        ("\\t\\0\\\\", b"\t\0\\"),
        ("\\x00\\xfF\\x7f", b"\x00\xff\x7f"),
        ("\\\\r", b"\\r"),
        ("\\012", b"\x0012"),
        ("\\x411", b"A1"),
        ("é€😀", "é€😀".encode()),
        ("\udcff", b"\xff"),
        ("a\nb", b"a\nb"),
    ],
)
def test_escapes_of_send(text: str, data: bytes) -> None:
    """The six, and what is none of them as UTF-8."""
    assert unescape(text) == data


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a\\q", "'\\q'"),
        ("\\R", "'\\R'"),
        ("\\x4", "'\\x4'"),
        ("\\x", "'\\x'"),
        ("\\xgg", "'\\xgg'"),
        ("\\x4g1", "'\\x4g'"),
        ("\\X41", "'\\X'"),
        ("\\u0041", "'\\u'"),
        ("\\ ", "'\\ '"),
        ("\\\x1b", "'\\\\x1b'"),
        ("x\\", "backslash at the end"),
        ("\\\\\\", "backslash at the end"),
        ("\\x\uff14\uff11", "'\\x\uff14\uff11'"),
    ],
)
def test_unknown_escape_is_named(text: str, named: str) -> None:
    """Nothing is sent in place of it, and the hint says which there are."""
    with pytest.raises(CommandError) as caught:
        unescape(text)
    said, hint = refusal(caught.value)
    assert named in said
    assert "\\" in hint


@unhurried
@given(st.binary())
def test_every_byte_can_be_sent_escaped(data: bytes) -> None:
    """Round trip: all as \\xNN, and all that have a shorter form in that."""
    short = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\0": "\\0", "\\": "\\\\"}
    assert unescape("".join(f"\\x{byte:02x}" for byte in data)) == data
    mixed = "".join(short.get(chr(byte), chr(byte) if byte < 0x80 else f"\\x{byte:02X}") for byte in data)
    assert unescape(mixed) == data


@unhurried
@given(TYPED)
def test_text_without_a_backslash_is_sent_as_it_is(text: str) -> None:
    """And any other text is bytes or one clear line."""
    clean = text.replace("\\", "")
    assert unescape(clean) == clean.encode("utf-8", "surrogateescape")
    try:
        unescape(text)
    except CommandError as error:
        check_one_line(error)
        assert "\\" in text


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("0d 0a", b"\r\n"),
        ("0d0a", b"\r\n"),
        ("0D\t0A ", b"\r\n"),
        ("0x0d 0X0a", b"\r\n"),
        ("0x0d0a 00", b"\r\n\0"),
        ("", b""),
        ("deadBEEF", b"\xde\xad\xbe\xef"),
        ("0000", b"\0\0"),
    ],
)
def test_hex(text: str, data: bytes) -> None:
    """Pairs, in pieces of any length, with or without 0x before each."""
    assert parse_hex(text) == data


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("0d zz", "'zz' is not hexadecimal"),
        ("0d 0", "'0' has a digit too many or too few"),
        ("0d0", "'0d0' has a digit too many or too few"),
        ("0x", "'0x' is not hexadecimal"),
        ("0x0x0d", "'0x0x0d' is not hexadecimal"),
        ("0d,0a", "'0d,0a' is not hexadecimal"),
        ("\\x0d", "'\\x0d' is not hexadecimal"),
        ("\uff11\uff12", "'\uff11\uff12' is not hexadecimal"),
        ("-1", "'-1' is not hexadecimal"),
        ("\x1b", "'\\x1b' is not hexadecimal"),
    ],
)
def test_bad_piece_of_hex_is_named(text: str, named: str) -> None:
    """The piece, not the whole line."""
    with pytest.raises(CommandError) as caught:
        parse_hex(text)
    assert refusal(caught.value)[0] == named


@unhurried
@given(st.binary(), st.sampled_from([" ", "  ", "\t", ""]), st.booleans(), st.sampled_from(["", "0x"]))
def test_hex_round_trip(data: bytes, blank: str, upper: bool, prefix: str) -> None:
    """Every way to write bytes gives them back."""
    pieces = [data.hex()] if blank == "" else [f"{byte:02x}" for byte in data]
    text = blank.join(prefix + (piece.upper() if upper else piece) for piece in pieces if piece)
    assert parse_hex(text) == data


@unhurried
@given(TYPED)
def test_any_hex_is_bytes_or_a_mistake(text: str) -> None:
    """Nothing else is raised."""
    try:
        parse_hex(text)
    except CommandError as error:
        check_one_line(error)


# ----------------------------------------------------------------------------------------- the arguments


@pytest.mark.parametrize(
    ("argument", "target", "mode"),
    [
        ("", None, None),
        ("h:25", "h:25", None),
        ("h 25", "h:25", None),
        ("h smtp", "h:25", None),
        ("::1 25", "[::1]:25", None),
        ("[::1]:25", "[::1]:25", None),
        ("--tls on", None, "on"),
        ("--tls=off", None, "off"),
        ("h:25 --tls starttls", "h:25", "starttls"),
        ("--tls on h:25", "h:25", "on"),
        ("--tls=on h 25", "h:25", "on"),
    ],
)
def test_open(argument: str, target: str | None, mode: SecureTransport | None) -> None:
    """Target and mode in any order, each of them optional."""
    assert parse_open(argument) == Reopening(target, mode)


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("--starttls smtp", Reopening(tls="starttls", starttls="smtp")),
        ("h:25 --starttls=smtp --tls starttls", Reopening("h:25", "starttls", "smtp")),
        ("--tls on --cacert ca.pem --sni mail.example", Reopening(tls="on", cacert="ca.pem", sni="mail.example")),
        ("-k h 993 --tls on", Reopening("h:993", "on", insecure=True)),
        ("--insecure", Reopening(insecure=True)),
        ("--ignore-unexpected-eof", Reopening(ignore_unexpected_eof=True)),
    ],
)
def test_open_has_the_options_of_the_command_line(argument: str, wanted: Reopening) -> None:
    """So that what a hint names can be typed."""
    assert parse_open(argument) == wanted


@pytest.mark.parametrize(
    ("argument", "text", "hint"),
    [
        ("--tls", "--tls needs a value", "one of off, on, starttls"),
        ("h:1 --tls", "--tls needs a value", "one of off, on, starttls"),
        ("h:1 --tls yes", "--tls does not know 'yes'", "one of off, on, starttls"),
        ("h:1 --tls=startls", "--tls does not know 'startls'", "did you mean starttls?"),
        ("h:1 -x", ":open does not know '-x'", ":help open"),
        ("h:1 -k -k", ":open does not know '-k'", ":help open"),
        ("h:1 -k=1", ":open does not know '-k=1'", ":help open"),
        ("h:1 --cacert", "--cacert needs a value", ":help open"),
        ("h:1 --starttls smpt", "--starttls does not know 'smpt'", "did you mean smtp?"),
        ("h:1 --starttls smtp --tls on", "--starttls excludes --tls on", ":help open"),
        ("h:1 --tls on --tls off", ":open does not know '--tls'", ":help open"),
        ("h 1 2", ":open takes one target", ":help open"),
        ("h", "'h': no port given", ":open h:443"),
        ("h:0", "'h:0': the port must be a number from 1 to 65535", ""),
        ("h:-1", "'h:-1': the port must be a number from 1 to 65535", ""),
        ("h:x", "'h:x': no service is called 'x'", "a port is a number, or a name of /etc/services"),
        ("https://h/", "'https://h/': expected host:port, not a URL", ":open h:443 --tls on"),
        ("\x1b:1:1", "'\\x1b:1:1': more than one colon: an IPv6 address goes in brackets", ""),
    ],
)
def test_open_refuses(argument: str, text: str, hint: str) -> None:
    """What the command line would say, with this command for a hint."""
    with pytest.raises(CommandError) as caught:
        parse_open(argument)
    assert refusal(caught.value) == (text, hint)


@pytest.mark.parametrize(
    ("argument", "timeout_s", "matching", "other"),
    [
        ("250", None, b"x 250", b"25 0"),
        ("-t 5 250", 5.0, b"250", b"25"),
        ("-t5 250", 5.0, b"250", b"-t5"),
        (" -t 0.5  250 ", 0.5, b"250 ", b"250"),
        ("-t 0 x", 0.0, b"x", b"y"),
        (r"\-t", None, b"-t", b"t"),
        (r"ok\r\n", None, b"ok\r\n", b"ok\n"),
        (r"(?i)^a1 ok", None, b"* x\r\nA1 OK", b"x a1 ok"),
        (r"^250 ", None, b"250-a\r\n250 b\r\n", b"250-a\r\n x250 b\r\n"),
        (r"go\r$", None, b"go\r\nmore", b"gone\r\n"),
        (r"\x00\xff", None, b"\x00\xff", b"\x00"),
        ("é", None, "é".encode(), b"\xe9"),
        ("[[a]", None, b"[", b"b"),  # of which Python warns
        (".", None, b"\xff", b"\n"),
        (r"(?s)a.b", None, b"a\nb", b"ab"),
    ],
)
def test_expect(argument: str, timeout_s: float | None, matching: bytes, other: bytes) -> None:
    """A pattern for bytes: line ends and any byte can be written, `^` is at every line, `(?i)` works."""
    expectation = parse_expect(argument)
    assert expectation.timeout_s == timeout_s
    assert expectation.pattern.search(matching)
    assert not expectation.pattern.search(other)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("(", "'(' is not a regular expression: missing ), unterminated subpattern at position 0"),
        ("*", "'*' is not a regular expression: nothing to repeat at position 0"),
        ("a{9999999999999999999999}", "'a{9999999999999999999999}' is not a regular expression: it is too large"),
        (f"a{{{'9' * 5000}}}", " is not a regular expression: it is too large"),
        ("(?u)a", "'(?u)a' is not a regular expression: "),
        ("\\", "'\\' is not a regular expression: bad escape (end of pattern) at position 0"),
        ("(" * 5000 + ")" * 5000, " is not a regular expression: it is too large"),
        ("-t 5", ":expect needs REGEX"),
        ("-t", "'' is not a number of seconds"),
        ("  ", ":expect needs REGEX"),
        ("-t x y", "'x' is not a number of seconds"),
        ("-test", "'est' is not a number of seconds"),
    ],
)
def test_expect_refuses(argument: str, text: str) -> None:
    """One line with the fault, whatever the compiler of patterns raises."""
    with pytest.raises(CommandError) as caught:
        parse_expect(argument)
    said, hint = refusal(caught.value)
    assert text in said
    assert hint
    assert len(said) < 160


@unhurried
@given(st.text(st.sampled_from("()[]{}*+?|\\^$.-:!=<>Piax0189, \udcff")) | TYPED)
def test_any_regex_compiles_or_is_a_mistake(text: str) -> None:
    """Nothing else is raised, and no warning is printed."""
    try:
        assert isinstance(parse_expect(text).pattern.pattern, bytes)
    except CommandError as error:
        check_one_line(error)


@pytest.mark.parametrize(("argument", "seconds"), [("", None), ("5", 5.0), ("0", 0.0), (".5", 0.5), ("1.", 1.0)])
def test_wait(argument: str, seconds: float | None) -> None:
    """A number of seconds, or none."""
    assert parse_wait(argument) == seconds


@pytest.mark.parametrize("argument", ["x", "-1", "nan", "inf", "1_0", "1e3", "5s", "1 2", "\uff11", "9" * 400, "\x1b"])
def test_wait_refuses(argument: str) -> None:
    """Only digits and a point, and not for ever."""
    with pytest.raises(CommandError) as caught:
        parse_wait(argument)
    text, hint = refusal(caught.value)
    assert text.endswith(" is not a number of seconds")
    assert hint == "as in 5 or 0.5"


def test_view_eol_and_protocol_are_names_of_lists() -> None:
    """Every value is taken as it is, and no protocol means no dialog."""
    assert [parse_view(name) for name in VIEWS] == ["text", "hex", "raw"]
    assert [parse_eol(name) for name in EOLS] == ["crlf", "lf", "cr", "none"]
    assert [parse_protocol(name) for name in PROTOCOLS] == list(PROTOCOLS.values())
    assert parse_protocol("") is None


@pytest.mark.parametrize(
    ("parser", "argument", "text", "hint"),
    [
        (parse_view, "hexdump", ":view does not know 'hexdump'", "did you mean hex?"),
        (parse_view, "x\x1b", ":view does not know 'x\\x1b'", "one of text, hex, raw"),
        (parse_eol, "LF", ":eol does not know 'LF'", "did you mean lf?"),
        (parse_eol, "\\r\\n", ":eol does not know '\\r\\n'", "one of crlf, lf, cr, none"),
        (parse_protocol, "stmp", ":starttls does not know 'stmp'", "did you mean smtp?"),
        (parse_protocol, "gopher", ":starttls does not know 'gopher'", f"one of {', '.join(PROTOCOLS)}"),
        (parse_set, "veiw hex", ":set does not know 'veiw'", "did you mean view?"),
        (parse_set, "view=hex", ":set does not know 'view=hex'", "did you mean view?"),
        (parse_set, "x", ":set does not know 'x'", "one of view, eol, proto, clear-secrets, workers, expand, encoding"),
        (parse_set, "eol", ":set eol needs a value", "one of crlf, lf, cr, none"),
        (parse_set, "eol lf cr", ":set eol takes one value", "one of crlf, lf, cr, none"),
        (parse_set, "clear-secrets yes", ":set clear-secrets does not know 'yes'", "one of off, on"),
    ],
)
def test_wrong_values_are_named(parser: object, argument: str, text: str, hint: str) -> None:
    """With the nearest value, or all that there are."""
    assert callable(parser)
    with pytest.raises(CommandError) as caught:
        parser(argument)
    assert refusal(caught.value) == (text, hint)


def test_set_changes_one_setting() -> None:
    """A name and a value; nothing at all lists them."""
    assert parse_set("") is None
    for name, values in SETTINGS.items():
        for value in values:
            assert parse_set(f" {name}  {value} ") == (name, value)


def test_settings() -> None:
    """Four, and whether a Worker is played, and two for scripts; protocols are those of --proto."""
    assert list(SETTINGS) == ["view", "eol", "proto", "clear-secrets", "workers", "expand", "encoding"]
    assert SETTINGS["proto"] == ("auto", *PROFILES)


def test_paths_and_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the line is the path; a home is found as by a shell; `off` is no file."""
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_path("my file") == "my file"
    assert parse_path("~/x") == f"/home/me{os.sep}x"
    assert parse_log("off") is None
    assert parse_log("./off") == "./off"
    assert parse_log("~/log") == f"/home/me{os.sep}log"


# -------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_fits_into_80_columns(name: str | None) -> None:
    """Lines of printable characters, none longer than a terminal is wide."""
    for line in help_lines(name):
        assert line.isprintable()
        assert len(line) <= 80, line
        assert line == line.rstrip()


def test_help_has_every_command() -> None:
    """Usage and summary of each, in a table, and the one thing that is no command."""
    lines = help_lines()
    assert lines == help_lines("")
    for command in COMMANDS.values():
        (number,) = [number for number, line in enumerate(lines) if line.split()[0] == f":{command.name}"]
        row = lines[number] if lines[number] != command.usage else command.usage + lines[number + 1]  # or two
        assert row.startswith(f"{command.usage} ")
        assert row.endswith(f" {command.summary}")
    assert "::x sends :x" in lines[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_one_command(name: str) -> None:
    """With its colon or without; usage first."""
    lines = help_lines(name)
    assert lines == help_lines(f":{name}")
    assert lines[0] == COMMANDS[name].usage
    assert lines[1].strip() == COMMANDS[name].summary


def test_help_names_every_value() -> None:
    """Whatever may be given to a command is in its help."""

    def words(name: str) -> set[str]:
        return set(re.split(r"[\s,|:;\[\]]+", " ".join(help_lines(name))))

    assert set(PROTOCOLS) <= words("starttls")
    assert {*SETTINGS, *(value for values in SETTINGS.values() for value in values)} <= words("set")
    assert set(VIEWS) <= words("view")
    assert set(EOLS) <= words("eol")
    assert {"--tls", *SECURE_TRANSPORTS} <= words("open")
    assert {"\\r", "\\n", "\\t", "\\0", "\\\\", "\\xNN"} <= words("send")


def test_help_tells_the_defaults() -> None:
    """How long is waited where it is not said."""
    assert f"{DEFAULT_QUIET_S:g} unless given" in " ".join(help_lines("wait"))
    assert f"{DEFAULT_WAIT_S:g} unless given" in " ".join(help_lines("expect"))


def examples() -> list[str]:
    return [line.strip() for name in COMMANDS for line in help_lines(name)[2:] if line.startswith("  :")]


@pytest.mark.parametrize("line", examples())
def test_examples_of_the_help_work(line: str) -> None:
    """What the help shows can be typed."""
    call = parse(line)
    assert isinstance(call, Call)
    parsers: dict[str, Callable[[str], object]] = {
        "send": sent_by,
        "hex": parse_hex,
        "expect": parse_expect,
        "reply": parse_reply,
        "sleep": parse_seconds,
        "timeout": parse_seconds,
        "set": parse_set,
        "dump": lambda text: parse_dump(text, RECENT_BYTES),
    }
    assert parsers.get(call.command.name, bool)(call.argument)


def test_help_for_what_is_no_command() -> None:
    """As for the command itself."""
    with pytest.raises(CommandError) as caught:
        help_lines("stattls")
    assert "did you mean :starttls?" in refusal(caught.value)[1]
