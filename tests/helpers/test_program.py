"""The parts of the program helper that only a failing test would use, tried on other programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.helpers import program


def python(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the helper run this Python code where it would run cfcat."""
    monkeypatch.setattr(program, "command", lambda *args: [sys.executable, "-c", code, *args])


COPY = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.stderr.write('done'); sys.exit(3)"


def test_input_and_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python(monkeypatch, COPY)
    file = tmp_path / "input"
    file.write_bytes(b"from a file")
    assert program.cfcat(stdin=b"from a pipe") == program.Result(b"from a pipe", "done", 3)
    assert program.cfcat(stdin=file) == program.Result(b"from a file", "done", 3)
    assert program.cfcat() == program.Result(b"", "done", 3)
    with file.open("rb") as descriptor:
        assert program.cfcat(stdin=descriptor.fileno()).stdout == b"from a file"


def test_death_by_signal_is_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    python(monkeypatch, "import os; os.kill(os.getpid(), 15)")
    assert program.cfcat().status == -15


def test_deadline_kills_the_whole_group() -> None:
    """The grandchild holds the pipes too; it must die for the failure to tell what was printed."""
    with pytest.raises(pytest.fail.Exception, match=r"(?s)not finished.*stdout: b'started"):
        program.shell("echo started; sh -c 'cat </dev/zero >/dev/null; :'; :", timeout_s=0.3)


def test_shell_keeps_the_status_and_has_cfcat_on_its_path() -> None:
    result = program.shell("command -v cfcat; exit 7")
    assert Path(os.fsdecode(result.stdout.strip())).parent == Path(sys.executable).parent
    assert result.status == 7


def test_shell_dies_of_sigpipe() -> None:
    assert program.shell("yes | head -1; echo ${PIPESTATUS[0]}").stdout == b"y\n141\n"


def test_dialog_with_a_running_program(monkeypatch: pytest.MonkeyPatch) -> None:
    python(monkeypatch, "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)")
    with program.start() as child:
        child.say(b"one\n")
        assert child.read_until(b"\n") == b"ONE\n"
        child.say(b"two\n")
        child.end_input()
        assert program.finish(child) == program.Result(b"ONE\nTWO\n", "", 0)


def test_program_that_ends_without_saying_it(monkeypatch: pytest.MonkeyPatch) -> None:
    python(monkeypatch, "import sys; sys.stderr.write('no')")
    with program.start() as child, pytest.raises(pytest.fail.Exception, match=r"(?s)without printing.*no"):
        child.read_until(b"yes")


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    assert not {"NO_COLOR", "SSL_CERT_FILE"} & program.environment().keys()
    assert program.environment({"TERM": None, "NO_COLOR": "x"}).get("NO_COLOR") == "x"
    assert "TERM" not in program.environment({"TERM": None})
