"""Which mode a command line gets, by its stdin, its stdout and its options; and the options of each mode."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TypeGuard

import pytest
import typer

from cfcat.errors import UsageError
from cfcat.program.cli import app
from cfcat.program.modes import (
    FAMILY,
    INSTEAD,
    OPTIONS,
    TABLE,
    TOGETHER,
    WITH_CHECK,
    WITH_FROM,
    Excludes,
    Mode,
    Needs,
    Stdin,
    check_alone,
    check_export,
    check_family,
    check_options,
    check_together,
    choose_mode,
)
from cfcat.program.start import run
from cfcat.protocols import PROTOCOLS
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, shell
from tests.helpers.terminal import terminal
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

# A line that pipe mode sends, and a session carries out.
LINE = ":send \\x61"
PIPE, SESSION = b":send \\x61\n", b"a"
NO_SCREEN = "--repl needs a terminal for standard output too\n  hint: --log FILE keeps a transcript"
NO_LINES = "--repl needs standard input, which is closed"


def test_table_is_complete() -> None:
    """Every kind of stdin with every kind of stdout has its row."""
    assert set(TABLE) == set(itertools.product(Stdin, (False, True)))


# ------------------------------------------------------------------------------------- the rows, by process


@pytest.mark.parametrize(
    ("option", "sent"), [(None, PIPE), ("--pipe", PIPE), ("--repl", SESSION)], ids=["default", "--pipe", "--repl"]
)
@pytest.mark.parametrize(("stdin", "stdout"), [("file", "file"), ("pipe", "file"), ("file", "terminal")])
def test_stdin_is_a_file_or_a_pipe(tmp_path: Path, stdin: str, stdout: str, option: str | None, sent: bytes) -> None:
    """A pipe, whatever stdout is; with --repl a script."""
    path = tmp_path / "lines"
    path.write_text(LINE + "\n")
    options = [option] if option else []
    with serve(Peer.recv_until_eof) as server:
        if stdout == "terminal":
            with path.open("rb") as file, terminal(*options, server.address, stdin=file) as term:
                assert term.finish() == 0
        else:
            given = path if stdin == "file" else path.read_bytes()
            assert cfcat(*options, server.address, stdin=given) == Result(b"", "", 0)
    assert server.received == sent


@pytest.mark.parametrize(("stdout", "option"), [("file", None), ("file", "--pipe"), ("terminal", "--pipe")])
def test_stdin_is_a_terminal_and_nobody_wants_a_session(tmp_path: Path, stdout: str, option: str | None) -> None:
    """A pipe where stdout is a file, or where --pipe asks for it."""
    options = [option] if option else []
    with serve(Peer.recv_until_eof) as server, (tmp_path / "out").open("wb") as file:
        with terminal(*options, server.address, stdout=file if stdout == "file" else None) as term:
            term.type(LINE + "\r\x04")
            assert term.finish() == 0
    assert server.received == PIPE


@pytest.mark.parametrize("options", [[], ["--repl"]], ids=["default", "--repl"])
def test_terminal_is_a_session(tmp_path: Path, options: list[str]) -> None:
    """With one line that says how to begin and how to end."""
    with serve(Peer.recv_until_eof) as server:
        with terminal(*options, server.address, env={"CFCAT_HISTORY": str(tmp_path / "history")}) as term:
            term.expect(f"cfcat: connected to {server.address}; :help lists commands, Ctrl-D ends")
            term.type(LINE + "\r")
            term.type(":quit\r")
            assert term.finish() == 0
    assert server.received == SESSION


def test_session_needs_a_terminal_to_show_it(tmp_path: Path) -> None:
    """stdin is a terminal, stdout a file: 2, and what was probably meant; nothing is connected."""
    with serve(Peer.recv_until_eof) as server, (tmp_path / "out").open("wb") as file:
        with terminal("--repl", server.address, stdout=file) as term:
            assert term.finish() == 2
        assert server.connections == 0
    assert term.output.decode().replace("\r\n", "\n") == f"cfcat: {NO_SCREEN}\n"


def test_stdin_is_closed() -> None:
    """An empty pipe; for a script an error."""
    with serve(Peer.recv_until_eof) as server:
        for option in ("", "--pipe"):
            assert shell(f"cfcat {option} {server.address} <&-") == Result(b"", "", 0)
        assert shell(f"cfcat --repl {server.address} <&-") == Result(b"", f"cfcat: {NO_LINES}\n", 2)
    assert [peer.received for peer in server.peers] == [b"", b""]


def test_modes_exclude_each_other() -> None:
    """One of them."""
    with pytest.raises(UsageError, match="--pipe and --repl exclude each other"):
        choose_mode(Stdin.TERMINAL, True, pipe=True, repl=True)


# ----------------------------------------------------------------------------------------------- options


def test_option_in_the_wrong_mode() -> None:
    """An error, never ignored; the hint says where it belongs."""
    for mode in Mode:
        for option, modes in OPTIONS.items():
            if mode in modes:
                check_options(mode, [option])
                continue
            with pytest.raises(UsageError) as caught:
                check_options(mode, [option])
            assert caught.value.message == f"{option} is not for {mode.value}"
            instead = INSTEAD.get((option, mode))  # for a hand that has another tool's habit
            assert caught.value.hint == instead or all(meant.value in caught.value.hint for meant in modes)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--eol", "lf"], "--eol is not for pipe mode"),
        (["--proto", "smtp"], "--proto is not for pipe mode"),
        (["--no-history"], "--no-history is not for pipe mode"),
        (["--repl", "-C"], "--crlf is not for a script"),
        (["--repl", "--no-history"], "--no-history is not for a script"),
        (["--repl", "--pipe"], "--pipe and --repl exclude each other"),
        (["--repl", "--proto", "smpt"], "--proto: 'smpt' is not known"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_command_line_is_refused(capfd: pytest.CaptureFixture[str], options: list[str], text: str) -> None:
    """2, before anything is connected."""
    assert run([*options, "127.0.0.1:9"]) == 2
    said, _ = check_form(capfd.readouterr().err)
    assert said == text


@pytest.mark.parametrize(
    "options", [["-w", "1"], ["-q", "1"], ["--no-shutdown"], ["--shutdown", "now"], ["-C"]], ids=lambda value: value[0]
)
def test_options_that_a_terminal_session_does_not_have(options: list[str]) -> None:
    """They are about the end of stdin, or would throw somebody out of what he is reading."""
    with terminal(*options, "127.0.0.1:9") as term:
        assert term.finish() == 2
    assert b" is not for the interactive mode" in term.output


def test_options_of_a_session() -> None:
    """--eol is what a line ends with, --proto whose secrets count."""
    with serve(Peer.recv_until_eof) as server:
        script = b"a\n:set\n"
        result = cfcat("--repl", "--eol", "lf", "--proto", "imap", server.address, stdin=script)
    assert server.received == b"a\n"
    assert (result.stdout, result.status) == (b"", 0)
    assert {"cfcat: eol lf", "cfcat: proto imap"} <= set(result.stderr.splitlines())


# --------------------------------------------------------------------------------------- options together


def is_another_need(other: Needs | Excludes, option: str, rule: Needs | Excludes) -> TypeGuard[Needs]:
    """What else this option needs, beside the rule in question."""
    return isinstance(other, Needs) and other is not rule and other.option == option


@pytest.mark.parametrize("rule", TOGETHER)
def test_options_that_do_not_go_together(rule: Needs | Excludes) -> None:
    """Each rule is broken by its option alone, or by the two of it; whatever else it needs is there."""
    if isinstance(rule, Needs):
        given, mended = [rule.option], [[rule.option, other] for other in rule.others]
        text = f"{rule.option} needs {rule.advice}"
    else:
        given, mended = [rule.option, rule.other], [[rule.option], [rule.other]]
        text = rule.text
    for choice in mended:
        assert rule.problem(choice) is None
    for option in tuple(given):
        given += [other.others[0] for other in TOGETHER if is_another_need(other, option, rule)]
    with pytest.raises(UsageError) as caught:
        check_together(given)
    assert caught.value.message == text


def test_one_family() -> None:
    """-4 and -6."""
    check_family(["-4"])
    with pytest.raises(UsageError, match="-4 and -6 exclude each other"):
        check_family(["-4", "-6"])


def test_check_workers_alone() -> None:
    """The first that means nothing there is named."""
    check_alone([*WITH_CHECK])
    with pytest.raises(UsageError, match="does not connect: --tls has no meaning there"):
        check_alone(["-4", "--tls", "--tls on", "-k"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--from"], "--from needs --export FILE"),
        (["--from", "--json"], "--from needs --export FILE"),
        (["--from", "--export", "target"], "--from goes with --export FILE and nothing else"),
    ],
)
def test_export_of_a_transcript_alone(given: list[str], text: str) -> None:
    """--from is no run."""
    check_export(["--from", "--export"])
    with pytest.raises(UsageError) as caught:
        check_export(given)
    assert caught.value.message == text


def test_rows_name_options_that_there_are() -> None:
    """A misspelt name in a row would never be given."""
    params = typer.main.get_command(app).params
    names = {name for param in params for name in param.opts}
    values = {f"{param.opts[-1]} {word}" for param in params for word in getattr(param.type, "choices", ())}
    values |= {f"--starttls {name}" for name in PROTOCOLS} | {"--events -"}
    in_rows = {*OPTIONS, *WITH_CHECK, *WITH_FROM, FAMILY.option, FAMILY.other}
    for rule in TOGETHER:
        in_rows |= {rule.option, *(rule.others if isinstance(rule, Needs) else [rule.other])}
    assert in_rows <= names | values


def test_crlf_in_a_pipe() -> None:
    """-C: a bare LF becomes CR LF."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat("-C", server.address, stdin=b"a\nb\r\n\n") == Result(b"", "", 0)
    assert server.received == b"a\r\nb\r\n\r\n"


def test_starttls_without_a_dialog_is_no_mistake_in_a_session() -> None:
    """The note of pipe mode is for pipe mode."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat("--repl", "--tls", "starttls", server.address, stdin=b"") == Result(b"", "", 0)
        assert "stays in clear text here" in cfcat("--tls", "starttls", server.address).stderr
