"""Run the cfcat program as a child process, as a user would; in a test of the fault matrix, as a fork (`forks`).

    result = cfcat("localhost:70", stdin=b"\\r\\n")
    assert (result.stdout, result.stderr, result.status) == (b"hello", "", 0)

Each run has a hard deadline, at which its whole process group is killed and the test fails with what was
printed so far. The environment is the caller's without whatever would change what cfcat does.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import pytest

from tests.helpers.forking import Fork, Forking

__all__ = ["Program", "Result", "cfcat", "command", "environment", "finish", "forks", "shell", "start"]

Argument = str | os.PathLike[str]

_BIN = Path(sys.executable).parent  # not resolved: in a virtual environment python is a link out of it
_UNWANTED = (
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "COLUMNS", "LINES"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "OPENSSL_CONF"),
    *(
        f"{name}_{end}"
        for name in ("ALL", "HTTPS", "HTTP", "NO", "all", "https", "http", "no")
        for end in ("PROXY", "proxy")
    ),
    *("CFCAT_PROXY_USER", "CFCAT_PROXY_PASSWORD"),
    *("CFCAT_HISTORY", "CFCAT_DEBUG", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONUNBUFFERED"),
)


_forking = Forking()
_forks = False


@dataclass(frozen=True)
class Result:
    """How a run went. A negative status -n is death by signal n; a shell reports 128 + n instead."""

    stdout: bytes
    stderr: str
    status: int


class Program(Fork):
    """A running child, with its deadline; leads a process group of its own."""

    deadline: float
    seen_stdout: bytes
    seen_stderr: bytes

    def say(self, data: bytes) -> None:
        """Write all of `data` to its standard input."""
        assert self.stdin is not None
        self.stdin.write(data)
        self.stdin.flush()

    def end_input(self) -> None:
        """Let it see the end of its standard input."""
        assert self.stdin is not None
        self.stdin.close()

    def read_until(self, mark: bytes) -> bytes:
        """Return everything printed on standard output so far, once that contains `mark`."""
        assert self.stdout is not None
        while mark not in self.seen_stdout:
            self.seen_stdout += self._more(self.stdout, mark)
        return self.seen_stdout

    def read_stderr_until(self, mark: str) -> str:
        """Return everything printed on standard error so far, once that contains `mark`."""
        assert self.stderr is not None
        while mark.encode() not in self.seen_stderr:
            self.seen_stderr += self._more(self.stderr, mark.encode())
        return self.seen_stderr.decode()

    def kill_group(self) -> None:
        """Kill it and whatever it started and left running. May be called at any time."""
        with suppress(ProcessLookupError):  # nobody is left
            os.killpg(self.pid, signal.SIGKILL)

    def fail(self, reason: str) -> NoReturn:
        """Kill it and fail the test, with everything that it printed."""
        self.kill_group()
        stdout, stderr = self.communicate()
        pytest.fail(
            f"{reason}\ncommand: {self.args!r}\nstatus: {self.returncode}\n"
            f"stdout: {(self.seen_stdout + (stdout or b''))[-2000:]!r}\n"
            f"stderr: {(self.seen_stderr + (stderr or b'')).decode(errors='backslashreplace')[-4000:]}",
            pytrace=False,
        )

    def _more(self, stream: IO[bytes], mark: bytes) -> bytes:
        if not select.select([stream], [], [], max(0.0, self.deadline - time.monotonic()))[0]:
            self.fail(f"{mark!r} was not printed before the deadline")
        # Past the reader's buffer, which communicate() does not look into.
        if not (data := os.read(stream.fileno(), 1 << 16)):
            self.fail(f"ended without printing {mark!r}")
        return data


def command(*args: Argument) -> list[str]:
    """Return the command that runs cfcat with these arguments."""
    return [sys.executable, "-m", "cfcat", *(os.fspath(arg) for arg in args)]


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return the environment of a run: clean, `cfcat` first on PATH, then `changes` (None removes)."""
    clean = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    clean["PATH"] = os.pathsep.join((str(_BIN), os.environ.get("PATH", os.defpath)))
    clean["TERM"] = "dumb"
    # `python -m` puts the current folder first on the module path; a user's `cfcat` does not.
    clean["PYTHONSAFEPATH"] = "1"
    for name, value in (changes or {}).items():
        clean.pop(name, None)
        if value is not None:
            clean[name] = value
    return clean


@contextmanager
def forks() -> Iterator[None]:
    """Let runs be forks of a process that has loaded cfcat, for tests that are about connections, not the process."""
    global _forks
    _forks, before = True, _forks
    try:
        yield
    finally:
        _forks = before


def cfcat(
    *args: Argument,
    stdin: bytes | int | IO[bytes] | Path | None = None,
    env: Mapping[str, str | None] | None = None,
    timeout_s: float = 10,
    by: Sequence[str] = (),
) -> Result:
    """Run cfcat to its end.

    `stdin` is what is on its standard input: bytes come through a pipe that then ends, an int is a
    descriptor, a path is a regular file, None is /dev/null. `by`: as in `start`.
    """
    if isinstance(stdin, Path):
        with stdin.open("rb") as file:
            return cfcat(*args, stdin=file, env=env, timeout_s=timeout_s, by=by)
    given = stdin if isinstance(stdin, bytes) else None
    source = subprocess.PIPE if isinstance(stdin, bytes) else subprocess.DEVNULL if stdin is None else stdin
    with start(*args, stdin=source, env=env, timeout_s=timeout_s, by=by) as program:
        return finish(program, given)


def shell(
    script: str,
    *,
    stdin: bytes = b"",
    env: Mapping[str, str | None] | None = None,
    timeout_s: float = 10,
) -> Result:
    """Run a bash script, with `cfcat` on its PATH; its status is the script's own.

    Python ignores SIGPIPE, but here, as at a prompt, every program begins with the default.
    """
    with _running(["bash", "-c", script], subprocess.PIPE, env, timeout_s) as program:
        return finish(program, stdin)


@contextmanager
def start(
    *args: Argument,
    stdin: int | IO[bytes] = subprocess.PIPE,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    env: Mapping[str, str | None] | None = None,
    timeout_s: float = 10,
    by: Sequence[str] = (),
) -> Iterator[Program]:
    """Start cfcat and yield it while it runs; what is left of it at the block's end is killed.

    `by` is a command that runs another one: `["sh", "-c", 'exec "$@" <&-', "sh"]`.
    """
    with _running([*by, *command(*args)], stdin, env, timeout_s, stdout, stderr) as program:
        yield program


def finish(program: Program, data: bytes | None = None) -> Result:
    """Give it the rest of its input, wait for its end and return how it went, from the start on."""
    if program.stdin is not None and program.stdin.closed:
        program.stdin = None  # communicate() would try to flush it
    try:
        stdout, stderr = program.communicate(data, timeout=max(0.0, program.deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        program.fail("not finished before the deadline")
    return Result(
        program.seen_stdout + (stdout or b""),
        (program.seen_stderr + (stderr or b"")).decode(errors="backslashreplace"),
        program.returncode,
    )


@contextmanager
def _running(
    argv: list[str],
    stdin: int | IO[bytes],
    env: Mapping[str, str | None] | None,
    timeout_s: float,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
) -> Iterator[Program]:
    variables = environment(env)
    program = Program(
        argv,
        forking=_forking if _forks and _forking.takes(argv, variables, (stdin, stdout, stderr)) else None,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=variables,
        start_new_session=True,
    )
    program.deadline = time.monotonic() + timeout_s
    program.seen_stdout = program.seen_stderr = b""
    try:
        yield program
    finally:
        program.kill_group()
        program.wait()
        for stream in (program.stdin, program.stdout, program.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):  # what it did not read
                    stream.close()
