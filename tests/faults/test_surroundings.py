"""Rows 92, 94, 95, 96: environment, interpreter, others on the same output, a clock that jumps."""

from __future__ import annotations

import ast
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import cfcat as package
from tests.faults.ways import at_once, check_message, make_way, patched
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, blackhole, refusing, serve
from tests.helpers.program import Result, cfcat, shell, start
from tests.pipe.tools import DEADLINE_S, Transport, pattern, until

pytestmark = pytest.mark.one_python

SHORT_S = 0.4
# UTF-8, Latin-1, controls and NUL: none of them may be looked at on their way.
ANY_BYTES = "grüße €\n".encode() + bytes(range(256))


def exchange(way: Transport, **how: object) -> Result:
    """A question and an answer over this kind of connection."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == ANY_BYTES
        conn.send(ANY_BYTES)

    with way.serve(script) as server:
        return cfcat(*way.options, server.address, stdin=ANY_BYTES, **how)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ row 92: environment

ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "HOME unset": {"HOME": None, "XDG_STATE_HOME": None, "USER": None, "LOGNAME": None},
    "HOME read-only": {"HOME": "/proc/1", "XDG_STATE_HOME": "/proc/1/state"},
    "TERM nonsense": {"TERM": "no such terminal"},
    "NO_COLOR": {"NO_COLOR": "1", "TERM": "xterm-256color"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "locale that there is not": {"LC_ALL": "xx_XX.nonsense"},
    "one column": {"COLUMNS": "1", "LINES": "1"},
    "nothing": dict.fromkeys(("HOME", "TERM", "LANG", "LC_ALL", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR")),
}


def script_run(env: dict[str, str | None]) -> Result:
    """A session from a script."""

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n") == b"hello\r\n"
        conn.send(ANY_BYTES)

    with serve(script) as server:
        return cfcat("--repl", server.address, stdin=b"hello\n", env=env)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_row_92_environment(certs: CertSet, name: str) -> None:
    """Data passes as it is, in pipe mode and from a script; a message is one line of plain text."""
    env = ENVIRONMENTS[name]
    with refusing() as port:
        jobs = [partial(exchange, make_way("tls1.3", certs), env=env), partial(script_run, env)]
        *exchanged, refused = at_once([*jobs, partial(cfcat, f"127.0.0.1:{port}", env=env)])
    assert exchanged == [Result(ANY_BYTES, "", 0)] * 2
    assert refused == Result(b"", f"cfcat: 127.0.0.1:{port}: connection refused\n", 7)


@pytest.mark.parametrize("name", ["one column", "C locale"])
def test_row_92_help(name: str) -> None:
    """It may be narrow; it is printed."""
    result = cfcat("--help", env=ENVIRONMENTS[name])
    assert (result.stderr, result.status) == ("", 0)
    assert b"Usage" in result.stdout
    assert b"\x1b" not in result.stdout


# ------------------------------------------------------------------------------------------ row 94: interpreter

INTERPRETERS: dict[str, dict[str, str | None]] = {
    "-W error": {"PYTHONWARNINGS": "error"},
    "-X dev -W error": {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "error"},
    "-OO": {"PYTHONOPTIMIZE": "2"},
    "-u": {"PYTHONUNBUFFERED": "1"},
    "not safe": {"PYTHONSAFEPATH": None},
}


@pytest.mark.parametrize("name", INTERPRETERS)
def test_row_94_interpreter(certs: CertSet, name: str) -> None:
    """No warning, no change: in clear text, under TLS, after an upgrade, and where it fails."""
    env = INTERPRETERS[name]
    with refusing() as port:
        jobs = [partial(exchange, make_way(way, certs), env=env) for way in ("plain", "tls1.3", "upgraded")]
        *exchanged, refused = at_once([*jobs, partial(cfcat, f"127.0.0.1:{port}", env=env)])
    assert exchanged == [Result(ANY_BYTES, "", 0)] * 3
    assert check_message(refused, 7, f"127.0.0.1:{port}: connection refused") == ""


def test_row_94_modules_in_the_current_folder_are_not_ours(tmp_path: Path) -> None:
    """A file `ssl.py` where the program is started: the installed `cfcat` does not import it."""
    for name in ("ssl", "asyncio", "socket", "typer", "cfcat"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")

    def script(conn: Peer) -> None:
        conn.send(b"hello")

    with serve(script) as server:
        result = shell(f"cd {tmp_path} && cfcat {server.address} </dev/null", env={"PYTHONSAFEPATH": None})
        assert result == Result(b"hello", "", 0)
        result = shell(f"cd {tmp_path} && cfcat --tls on -k {server.address} </dev/null", env={"PYTHONSAFEPATH": None})
        assert result.status == 35


# ------------------------------------------------------------------------------- row 95: others on the same output


def test_row_95_stdout_that_others_append_to(tmp_path: Path) -> None:
    """`>>`: what another program appends meanwhile is not overwritten."""
    log = tmp_path / "log"
    log.write_bytes(b"old,")
    seen = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"one,")
        conn.wait(seen)
        conn.send(b"three")

    with serve(script) as server, log.open("ab") as file, start(server.address, stdout=file) as program:
        until(lambda: log.read_bytes() == b"old,one,")
        with log.open("ab") as other:
            other.write(b"two,")
        seen.set()
        assert program.wait(DEADLINE_S) == 0
    assert log.read_bytes() == b"old,one,two,three"


@pytest.mark.parametrize("redirection", [">", ">>"])
def test_row_95_programs_that_share_a_file(way: Transport, tmp_path: Path, redirection: str) -> None:
    """Before, after and beside us: nothing is rewound, cut off or written twice."""
    size = 300_000
    contents = iter((b"a" * size, b"b" * size))

    def script(conn: Peer) -> None:
        conn.send(next(contents))

    path = tmp_path / "file"
    path.write_bytes(b"old,")
    with way.serve(script) as server:
        run = f"cfcat {' '.join(way.options)} {server.address} </dev/null"
        result = shell(f"{{ echo first; {run} & {run}; wait; echo last; }} {redirection} {path}")
    assert result == Result(b"", "", 0)
    data = path.read_bytes()
    assert data.startswith(b"first\n" if redirection == ">" else b"old,first\n")
    assert data.endswith(b"last\n")
    counts = data.count(b"a") - data.count(b"last"), data.count(b"b")
    assert counts == (size, size)


def test_row_95_programs_that_share_a_pipe(plain: Transport) -> None:
    """A pipe that others write to as well gets all of both."""
    size = 300_000

    def script(conn: Peer) -> None:
        conn.send(pattern(size))

    with plain.serve(script) as server:
        result = shell(f"(cfcat {server.address} </dev/null & cfcat {server.address} </dev/null; wait) | wc -c")
    assert (int(result.stdout), result.stderr, result.status) == (2 * size, "", 0)


# --------------------------------------------------------------------------------------- row 96: a clock that jumps

# The machine's time of day jumps by years, forwards and back, at every look.
JUMPS = """
import itertools, time
jumps, real = itertools.cycle((0, 1e9, -1e9)), time.time
time.time = lambda: real() + next(jumps)
time.time_ns = lambda: int(time.time() * 1e9)
"""


def test_row_96_deadlines_keep_to_a_clock_that_does_not_jump() -> None:
    """--connect-timeout, -w and -q end when their time is up, not before and not after."""

    def quiet(conn: Peer) -> None:
        conn.send(b"hello")
        conn.recv_until_eof()
        conn.hang()

    def took(*arguments: str) -> tuple[Result, float]:
        began = time.monotonic()
        return cfcat(*arguments, by=patched(JUMPS)), time.monotonic() - began

    with blackhole() as port, serve(quiet) as server:
        runs = at_once(
            [
                partial(took, "--connect-timeout", str(SHORT_S), f"127.0.0.1:{port}"),
                partial(took, "-w", str(SHORT_S), server.address),
                partial(took, "-q", str(SHORT_S), server.address),
            ]
        )
    assert [(result.status, result.stdout) for result, _ in runs] == [(28, b""), (28, b"hello"), (0, b"hello")]
    assert all(SHORT_S <= seconds < SHORT_S + 2 for _, seconds in runs), runs


def test_row_96_nothing_that_waits_looks_at_the_time_of_day() -> None:
    """Only what tells a person the time, or how old a certificate is or becomes, may ask for it."""
    folder = Path(package.__file__).parent
    asked = []
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] in ("core", "pipe", "starttls"):
            names = {
                f"{node.value.id}.{node.attr}"
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            }
            asked += [path.name for name in names & {"time.time", "time.time_ns", "datetime.now", "datetime.datetime"}]
    assert asked == ["server_context.py"]  # it makes a certificate, which has dates
