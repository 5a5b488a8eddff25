"""Torture: a session in which one call fails, over and over, until every use of every call has failed in every way.

    python -m tests.faults.torture                                    # everything, some minutes
    python -m tests.faults.torture upgraded-pipe wire.recv ECONNRESET

A session is a run of the command line in a forked child: two rounds of some KiB for the peer and its answer, then stdin
ends, the peer says something last, and ends too. The fork saves the start of Python, so that a run takes some 20 ms.
It needs a process without threads: those of the peer begin after it, and end with the run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import gc
import importlib
import json
import os
import pty
import select
import signal
import socket
import sys
import tempfile
import termios
import threading
import time
import tty
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer

import cfcat.__main__
import cfcat.edges.descriptors
import cfcat.pipe.pump
import cfcat.pipe.run
import cfcat.program.cli
import cfcat.program.run
import cfcat.program.start
import cfcat.protocols.upgrade
import cfcat.repl.actions
import cfcat.repl.script
from tests.faults.torture_calls import Calls, Fault
from tests.faults.torture_expected import AGAIN, complaints_of_stderr, faults_of, statuses
from tests.faults.torture_scene import LAST, SCENES, Scene
from tests.faults.ways import Upgraded, make_way, upgrade
from tests.helpers.certs import CertSet, make_certs
from tests.helpers.peers import Peer, serve

__all__ = ["Outcome", "judge", "play", "prepare", "torture"]

DEADLINE_S = 10.0
SHORT_S = 0.3  # of a handshake that is told to wait for what does not come
SHORT_LOST_S = 0.1  # of silence where stdin cannot be read
HIGH_FD = 100  # in nobody's way


@dataclass
class Outcome:
    """How a run went. `left`: descriptors that it has not closed; `changed`: what it did to its standard ones."""

    status: int = 0
    hung: bool = False
    stdout: bytes = b""
    received: bytes = b""
    stderr: str = ""
    uses: dict[str, int] | None = None  # None: the process has not lived to tell
    struck_in: str | None = None
    left: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------- the edges


@dataclass
class Edges:
    """stdin and stdout of the child, and this side's ends of them (-1: it is a file).

    `refuse_opening`: what cfcat would open again for itself cannot be, so that a thread waits in its place.
    """

    stdin: int
    stdout: int
    feed: int
    drain: int
    refuse_opening: bool = False

    def end_input(self) -> None:
        if self.feed < 0:
            return
        if self.feed == self.drain:
            with socket.socket(fileno=os.dup(self.feed)) as both:
                both.shutdown(socket.SHUT_WR)
        else:
            os.close(self.feed)
            self.feed = -1

    def state(self) -> list[Any]:
        """What the child must leave as it is."""
        fds = (self.stdin, self.stdout)
        modes = [termios.tcgetattr(self.stdout)] if os.isatty(self.stdout) else []
        return [*(fcntl.fcntl(fd, fcntl.F_GETFL) for fd in fds), *modes]

    def close(self) -> None:
        for fd in {self.stdin, self.stdout, self.feed, self.drain} - {-1}:
            os.close(fd)


def _make_edges(scene: Scene) -> Edges:
    if scene.edges == "socket":
        theirs, ours = socket.socketpair()
        fd, own = theirs.detach(), ours.detach()
        return Edges(fd, fd, own, own)
    if scene.edges == "file":
        stdin, stdout = os.memfd_create("stdin"), os.memfd_create("stdout")
        os.write(stdin, b"".join(scene.typed(question) for question, _ in scene.rounds))
        os.lseek(stdin, 0, os.SEEK_SET)
        return Edges(stdin, stdout, -1, -1)
    if scene.edges == "terminal":
        (feed, stdin), (drain, stdout) = pty.openpty(), pty.openpty()
        for fd in (stdin, stdout):
            tty.setraw(fd)
        return Edges(stdin, stdout, feed, drain)
    stdin, feed = os.pipe()
    drain, stdout = os.pipe()
    return Edges(stdin, stdout, feed, drain, refuse_opening=scene.edges == "thread")


# ------------------------------------------------------------------------------------------------- the child


class _Child:
    """A process that waits for its command line."""

    def __init__(self, edges: Edges, fault: Fault | None) -> None:
        self.stderr = os.memfd_create("stderr")
        theirs, self._control = os.pipe()
        self.report, their_report = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.dup2(edges.stdin, 0)
                os.dup2(edges.stdout, 1)
                os.dup2(self.stderr, 2)
                if edges.refuse_opening:
                    cfcat.edges.descriptors.open_again = lambda fd, access, pipe_bytes=0: None
                _be_the_program(theirs, their_report, fault)
            finally:  # whatever was raised, this is no second test run
                os._exit(99)
        os.close(theirs)
        os.close(their_report)
        self.pidfd = os.pidfd_open(self.pid)

    def begin(self, arguments: list[str]) -> None:
        with open(self._control, "w") as pipe:
            json.dump(arguments, pipe)

    @property
    def struck(self) -> bool:
        """Has it met its fault?"""
        return bool(select.select([self.report], [], [], 0)[0])

    def finish(self, outcome: Outcome) -> None:
        """Wait for its end, which is near, and note what it has told."""
        _, status = os.waitpid(self.pid, 0)
        outcome.status = os.waitstatus_to_exitcode(status)
        with open(self.report) as pipe:
            for line in pipe:
                for name, value in json.loads(line).items():
                    setattr(outcome, name, value)
        outcome.stderr = os.pread(self.stderr, 1 << 20, 0).decode(errors="backslashreplace")
        os.close(self.stderr)
        os.close(self.pidfd)


def _be_the_program(control: int, report: int, fault: Fault | None) -> NoReturn:
    high = fcntl.fcntl(report, fcntl.F_DUPFD, HIGH_FD)
    os.closerange(3, control)
    os.closerange(control + 1, high)
    importlib.reload(cfcat.__main__)  # as the first statement of the program has it
    with open(control) as pipe:
        arguments = json.load(pipe)
    faulthandler.register(signal.SIGUSR1, file=2)
    warnings.simplefilter("always")  # of what is left open; on stderr it counts as a failure
    write = os.write

    def tell(**facts: Any) -> None:
        write(high, json.dumps(facts).encode() + b"\n")

    calls = Calls(fault, lambda phase: tell(struck_in=phase))
    before = _descriptors()
    calls.install()
    status = cfcat.program.start.run(arguments)
    gc.collect()  # some faults are told by destructors
    calls.end()
    sys.stdout.flush()
    left = [f"descriptor {each}" for each in sorted(_descriptors() - before)]
    left += [f"thread {thread.name}" for thread in threading.enumerate()[1:] if not thread.daemon]
    tell(left=left, uses=calls.uses)
    os._exit(status)


def _descriptors() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            # A terminal that has hung up is the same, though it is called deleted.
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}').removesuffix(' (deleted)')}")
    return found


# ------------------------------------------------------------------------------------------------- a session


def play(scene: Scene, certs: CertSet, fault: Fault | None = None) -> Outcome:
    """One session with one fault, or none."""
    way = make_way(scene.way, certs)
    outcome = Outcome()
    edges = _make_edges(scene)
    before = edges.state()
    child = _Child(edges, fault)
    in_the_open = threading.Event()

    def script(conn: Peer) -> None:
        with contextlib.suppress(OSError, AssertionError):  # the client is gone: that is what it is about
            if isinstance(way, Upgraded):
                upgrade(conn)
            if way.version is not None:
                conn.start_tls(certs.server_context(version=way.version))
            conn.forget()
            in_the_open.set()
            for question, answer in scene.rounds:
                conn.recv_exactly(len(question))
                conn.send(answer)
            conn.recv_until_eof()
            conn.send(LAST)

    what, call = (None, None) if fault is None else (fault.what, fault.call)
    with serve(script, timeout_s=2 * DEADLINE_S) as server:
        starved = what == "SSLWantReadError" and call == "tls.do_handshake"
        limit = ["--connect-timeout", str(SHORT_S if starved else DEADLINE_S)]
        child.begin([*scene.arguments, *way.options, *limit, server.address])
        try:
            # What OpenSSL holds back is found with what comes next: nobody must wait for the one before he sends the
            # other. Nor must the one who types a script for what will not come.
            gives_up = scene.mode == "script" and what not in AGAIN
            _talk(scene, edges, child, outcome, in_turn=what != "SSLWantReadError", gives_up=gives_up)
        except TimeoutError:
            outcome.hung = True
            os.kill(child.pid, signal.SIGUSR1)
            select.select([child.pidfd], [], [], 0.3)  # time for the traceback
            os.kill(child.pid, signal.SIGKILL)
        child.finish(outcome)
    if in_the_open.is_set():
        outcome.received = server.received
    if edges.state() != before:
        outcome.changed = (f"{before} was changed to {edges.state()}",)
    edges.close()
    return outcome


def _talk(scene: Scene, edges: Edges, child: _Child, outcome: Outcome, *, in_turn: bool, gives_up: bool) -> None:
    """Be the one who types and reads: `in_turn` or all at once, which is also how one `gives_up` at the fault.

    Raises TimeoutError.
    """
    deadline = time.monotonic() + DEADLINE_S
    due = 0
    for question, answer in scene.rounds if edges.feed >= 0 else ():
        os.write(edges.feed, scene.typed(question))
        due += len(answer)
        while in_turn and len(outcome.stdout) < due and _drain(edges, child, outcome, deadline, gives_up):
            in_turn = not (gives_up and child.struck)
    edges.end_input()
    while _drain(edges, child, outcome, deadline):
        pass
    if edges.drain < 0:
        outcome.stdout = os.pread(edges.stdout, 1 << 20, 0)
    while edges.drain >= 0 and select.select([edges.drain], [], [], 0)[0]:
        outcome.stdout += os.read(edges.drain, 1 << 16)


def _drain(edges: Edges, child: _Child, outcome: Outcome, deadline: float, or_fault: bool = False) -> bool:
    """Wait for some output, or for the fault to be met; False when the process has ended."""
    sources = [child.pidfd, edges.drain, child.report] if or_fault else [child.pidfd, edges.drain]
    ready = select.select(set(sources) - {-1}, [], [], max(0.0, deadline - time.monotonic()))[0]
    if not ready:
        raise TimeoutError
    if edges.drain in ready:
        outcome.stdout += os.read(edges.drain, 1 << 16)
    return child.pidfd not in ready


# ------------------------------------------------------------------------------------------------- the torture


def judge(scene: Scene, fault: Fault | None, outcome: Outcome) -> list[str]:
    """What is wrong with how it went."""
    wrong = ["it hangs"] if outcome.hung else []
    if fault is None or outcome.struck_in is None:
        allowed = {0}
    else:
        allowed = statuses(scene, fault, outcome.struck_in)
    if outcome.status not in allowed:
        wrong.append(f"status {outcome.status}, not {' or '.join(map(str, sorted(allowed)))}")
    if outcome.status == 0:
        if outcome.stdout != scene.answered:
            wrong.append(f"stdout has {len(outcome.stdout)} bytes, not the {len(scene.answered)} that were sent")
        if outcome.received != scene.asked:
            wrong.append(f"the peer has {len(outcome.received)} bytes, not the {len(scene.asked)} of stdin")
        wrong += complaints_of_stderr(outcome.stderr, [0])
    else:
        if not scene.answered.startswith(outcome.stdout):
            wrong.append("stdout is no prefix of what was sent")
        if not scene.asked.startswith(outcome.received):
            wrong.append("what the peer has is no prefix of stdin")
        if outcome.status > 0:
            # A script is told of a connection that breaks between two lines, and of the line that fails then.
            wrong += complaints_of_stderr(outcome.stderr, [1] if scene.mode == "pipe" else [1, 2])
        else:
            wrong += complaints_of_stderr(outcome.stderr, [0])
    return [*wrong, *outcome.left, *outcome.changed]


def torture(scene: Scene, certs: CertSet, call: str, what: str, uses: int, *, lasting: bool = False) -> list[str]:
    """Let each of so many uses of a call fail in one way; returns what is wrong."""
    complaints = []
    for use in range(1, uses + 1):
        fault = Fault(call, what, use, lasting)
        outcome = play(scene, certs, fault)
        if wrong := judge(scene, fault, outcome):
            which = f"all uses from {use}" if lasting else f"use {use}"
            text = f"{scene.name}: {what} at {which} of {call} ({outcome.struck_in}): {'; '.join(wrong)}"
            complaints.append(f"{text}\n{outcome.stderr[-3000:]}")
        if outcome.hung:
            break  # ten seconds each
    return complaints


def prepare() -> None:
    """Make forks cheap: nothing that is here already is looked at by the collector, or made again."""
    # A stdin that fails is waited for by nobody here: five seconds each time would be hours.
    for module in (cfcat.pipe.pump, cfcat.repl.script):
        vars(module)["STDIN_LOST_S"] = SHORT_LOST_S
    command = typer.main.get_command(cfcat.program.cli.app)
    typer.main.get_command = lambda typer_instance: command
    gc.collect()
    gc.freeze()


def main(scene_name: str = "", call: str = "", what: str = "", lasting: str = "") -> None:
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        certs = make_certs(Path(folder))
        for scene in SCENES.values():
            if scene_name not in ("", scene.name):
                continue
            began = time.monotonic()
            plain = play(scene, certs)
            assert not judge(scene, None, plain), plain
            count = 0
            for each, uses in (plain.uses or {}).items():
                for fault in faults_of(each, scene, lasting=bool(lasting)):
                    if call in ("", each) and what in ("", fault):
                        count += uses
                        for complaint in torture(scene, certs, each, fault, uses, lasting=bool(lasting)):
                            print(complaint, flush=True)
            print(f"{scene.name}: {count} runs in {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
