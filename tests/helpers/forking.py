"""Runs of cfcat that are forks of one process, which has loaded all of it: a start takes a tenth of the time then.

The whole of a run is its own all the same: arguments, standard descriptors, session, folder, exit. What it shares is
what was imported and the parser. It is a child of the tests' process, as any other is, so that it can be waited for.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

__all__ = ["Fork", "Forking"]

PR_SET_CHILD_SUBREAPER = 36
MODULE = ["-m", "cfcat"]
# pytest tells its children of the test; so each test's environment is another one.
OF_PYTEST = "PYTEST_CURRENT_TEST"
# In the arguments of Popen._execute_child(), which are given by position.
DESCRIPTORS = slice(10, 16)


class Forking:
    """The process that forks; it begins with the first run, and ends with the tests' process at the latest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}

    def takes(self, argv: Sequence[str], environment: dict[str, str], descriptors: Sequence[object]) -> bool:
        """Is a fork the same here as a start? Not in another environment, and not at a terminal."""
        if argv[:3] != [sys.executable, *MODULE]:
            return False
        if any(isinstance(each, int) and each >= 0 and os.isatty(each) for each in descriptors):
            return False
        with self._lock:
            if self._control is None:
                self._begin(_without_test(environment))
            return _without_test(environment) == self._environment

    def fork(self, argv: Sequence[str], descriptors: Sequence[int]) -> int:
        """Begin a run with these descriptors as its first three; returns its process id."""
        with self._lock:
            assert self._control is not None
            _adopt_orphans(True)
            try:
                passed = array.array("i", descriptors)
                order = json.dumps([os.getcwd(), *argv[3:]]).encode(errors="surrogateescape")
                head = len(order).to_bytes(4, "big")
                self._control.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
                self._control.sendall(order)
                answer = self._control.recv(4)
            finally:
                _adopt_orphans(False)
            assert len(answer) == 4, "the process that forks has ended"
            return int.from_bytes(answer, "big")

    def end(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait(10)
            self._control = None

    def _begin(self, environment: dict[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            # Of no terminal and no group of ours: Ctrl-C at the tests is not for it.
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("forked.py")), str(fd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[fd],
                env=environment,
                start_new_session=True,
            )
        self._environment = environment
        atexit.register(self.end)


class Fork(subprocess.Popen[bytes]):
    """A child of `forking`, if it has one, to be used as any other."""

    def __init__(self, argv: list[str], *, forking: Forking | None, **options: Any) -> None:
        self._forking = forking
        super().__init__(argv, **options)

    def _execute_child(self, *arguments: Any) -> None:
        if self._forking is None:
            cast(Any, super())._execute_child(*arguments)
            return
        descriptors = arguments[DESCRIPTORS]
        stdin, _, _, stdout, _, stderr = descriptors
        try:
            self.pid = self._forking.fork(arguments[0], (stdin, stdout, stderr))
            self._child_created = True
        finally:
            cast(Any, self)._close_pipe_fds(*descriptors)


def _without_test(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != OF_PYTEST}


def _adopt_orphans(adopt: bool) -> None:
    """Whether a process whose parent ends becomes a child of this one; only while a run is forked, or never."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)
