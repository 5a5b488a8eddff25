"""`--export`, `--from` and `:export` as a user gives them: files, messages, statuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat
from tests.helpers.terminal import terminal
from tests.report.form import check_form


def greet(conn: Peer) -> None:
    conn.send(b"220 hello\r\n")
    conn.recv_until_eof()


def told(result: Result) -> str:
    """The message, without its hint."""
    return check_form(result.stderr)[0]


def test_command_exports_what_was_so_far(tmp_path: Path) -> None:
    """In place of what the file had; a second time with what came since."""
    made, later = tmp_path / "a.mjs", tmp_path / "b.mjs"
    made.write_text("something else")
    lines = f":expect ^220 .*\\n\none\n:export {made}\ntwo\n:export {later}\n"
    with serve(greet) as server:
        result = cfcat("--repl", server.address, stdin=lines.encode())
    assert result == Result(b"220 hello\r\n", f"cfcat: exported to {made}\ncfcat: exported to {later}\n", 0)
    assert 'send("one\\r\\n");' in made.read_text()
    assert 'send("one\\r\\n", "two\\r\\n");' in later.read_text()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.mjs", "b.mjs"]


def test_on_a_terminal(tmp_path: Path) -> None:
    """The command with what was typed, a blank before it and all; and the option, at the end."""
    made, later = tmp_path / "a.mjs", tmp_path / "b.mjs"
    with serve(greet) as server, terminal("--export", str(later), server.address, env={"CFCAT_HISTORY": ""}) as term:
        term.until(lambda lines: "220 hello" in lines)
        term.type("one\r")
        term.type(" indented\r")
        term.type(f":export {made}\r")
        term.until(lambda lines: any(line.startswith("exported to ") for line in lines))
        assert not later.exists()
        term.type(":quit\r")
        assert term.finish() == 0
    for module in (made.read_text(), later.read_text()):
        assert 'await server.lines(1);\n  server.send("one\\r\\n", " indented\\r\\n");' in module


def test_file_is_for_everybody(tmp_path: Path) -> None:
    """There is no secret in it: the umask decides. A link stays a link."""
    made, link = tmp_path / "worker.mjs", tmp_path / "link.mjs"
    link.symlink_to(made)
    with serve(greet) as server:
        assert cfcat("--export", str(link), server.address, stdin=b"x").status == 0
    assert made.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert link.is_symlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_not_a_file(tmp_path: Path) -> None:
    """A device or a pipe is written to, not replaced."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with serve(greet) as server:
        assert cfcat("--export", str(fifo), server.address).status == 0
    assert os.read(reader, 100).startswith(b"// Made by cfcat ")
    os.close(reader)


@pytest.mark.parametrize(
    ("name", "reason"), [("missing/worker.mjs", "no such file or directory"), ("", "is a directory")]
)
def test_file_that_cannot_be_written(tmp_path: Path, name: str, reason: str) -> None:
    """23, before anything is connected to; a command of a session says it, and changes nothing."""
    path = tmp_path / name
    result = cfcat("--export", str(path), "127.0.0.1:9")
    assert (told(result), result.status) == (f"cannot write {path}: {reason}", 23)
    with serve(greet) as server:
        result = cfcat("--repl", server.address, stdin=f":export {path}\n".encode())
    assert (told(result), result.status) == (f"line 1: cannot write {path}: {reason}", 1)


def test_run_that_fails_exports_nothing(tmp_path: Path) -> None:
    made = tmp_path / "worker.mjs"
    with refusing() as port:
        assert cfcat("--export", str(made), f"127.0.0.1:{port}").status == 7
    with serve(greet) as server:
        assert cfcat("--repl", "--export", str(made), server.address, stdin=b":nonsense\n").status == 1
    assert not made.exists()


def test_from_a_transcript(tmp_path: Path) -> None:
    """Of pipe mode too, and without the secret that the transcript has."""
    made, later, log = tmp_path / "a.mjs", tmp_path / "b.mjs", tmp_path / "log"
    options = ["--log", str(log), "--log-secrets", "--export", str(made)]
    with serve(greet) as server:
        assert cfcat(*options, server.address, stdin=b"PASS hunter2\r\n").status == 0
    assert cfcat("--export", str(later), "--from", str(log)) == Result(b"", "", 0)
    assert later.read_text() == made.read_text()
    assert "hunter2" in log.read_text()
    assert "hunter2" not in made.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "line 1: not an entry of a transcript"),
        ("2026-11-23T15:04:05.123Z * - transcript of h:1\n", "cannot export: there was no connection"),
        ("\x00", "line 1: not an entry of a transcript"),
        (None, "no such file or directory"),
    ],
)
def test_no_transcript(tmp_path: Path, text: str | None, message: str) -> None:
    """A usage error with the file's name; nothing is written."""
    log = tmp_path / "log"
    if text is not None:
        log.write_text(text)
    result = cfcat("--export", str(tmp_path / "made"), "--from", str(log))
    where = f"{log}: {message}" if text is not None else f"cannot read {log}: {message}"
    assert (told(result), result.status) == (where, 2)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "log"], "--from needs --export FILE"),
        (["--from", "log", "--export", "x", "h:1"], "--from goes with --export FILE and nothing else"),
        (["--from", "log", "--export", "x", "-v"], "--from goes with --export FILE and nothing else"),
        (["--export", "x"], "no target given"),
    ],
)
def test_usage(arguments: list[str], message: str) -> None:
    result = cfcat(*arguments)
    assert (told(result), result.status) == (message, 2)
