"""What a call that fails must come to: the faults that each call can meet, and how a session with one may end.

Source: the fault matrix, rows 16 to 19, 26, 28, 40 and 51.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable

from tests.faults.torture_calls import Fault
from tests.faults.torture_scene import Scene
from tests.report.form import check_form

__all__ = ["AGAIN", "complaints_of_stderr", "faults_of", "statuses"]

AGAIN = ("EINTR", "EAGAIN", "short")  # nothing has gone wrong: the session is as any other
NO_MEMORY = ("ENOBUFS", "ENOMEM", "MemoryError")
READ = (*AGAIN, *NO_MEMORY, "EIO")
WRITE = (*AGAIN, *NO_MEMORY, "EIO", "ENOSPC", "EPIPE")
RECEIVE = (*AGAIN, *NO_MEMORY, "ECONNRESET", "ETIMEDOUT", "EIO")
SEND = (*RECEIVE, "EPIPE")
# Python itself tries again where it was interrupted, and needs no memory.
NOT_THIS_WAY = ("EINVAL", "EIO", "ENOBUFS", "ENOMEM")  # the ordinary way finds out, if anything is wrong
SPLICE = ("EAGAIN", "short", *NOT_THIS_WAY, "ECONNRESET", "ETIMEDOUT", "EPIPE")
JOINED = ("wire-stdout.splice", "stdin-wire.splice", "stdin-wire.sendfile")

# What is seen once, with connections of every kind, is nothing but another text elsewhere.
ALIKE = frozenset({"ENOBUFS", "ENOMEM", "ETIMEDOUT", "ENETUNREACH"})

# By call: what it can say. A call that is not here has no way to fail that is told apart from another's.
FAULTS: dict[str, tuple[str, ...]] = {
    "wire.connect": ("EINTR", *NO_MEMORY, "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT"),
    "wire.setsockopt": ("ENOMEM",),
    "wire.recv": RECEIVE,
    "wire.recv_into": RECEIVE,
    "wire.send": SEND,
    "wire.sendmsg": SEND,
    "stdin.read": READ,
    "stdin.readv": READ,
    "stdin.recv_into": (*READ, "ECONNRESET"),
    "stdin.send": (*WRITE, "ECONNRESET"),  # where one socket is both
    "stdout.write": WRITE,
    "stderr.write": (*AGAIN, "EIO", "ENOSPC", "EPIPE"),
    "wire-stdout.splice": (*SPLICE, "ENOSPC"),
    "stdin-wire.splice": SPLICE,
    "stdin-wire.sendfile": SPLICE,
    "tls.do_handshake": ("SSLError", "MemoryError", "SSLWantReadError"),
    "tls.read": ("SSLError", "MemoryError", "SSLWantReadError", "short"),
    "tls.write": ("SSLError", "MemoryError", "SSLWantReadError", "short"),
    "tls.unwrap": ("SSLError", "MemoryError"),
    "bio.read": ("MemoryError",),
    "bio.write": ("MemoryError",),
}


def faults_of(call: str, scene: Scene, *, lasting: bool = False) -> tuple[str, ...]:
    """How this call is made to fail in a scene; `lasting`: for good."""
    faults = set(FAULTS.get(call, ()))
    if lasting:
        faults -= {"EINTR", "EAGAIN", "SSLWantReadError"}  # to wait for ever is right then
    if lasting or (scene.edges, scene.mode) != ("pipe", "pipe") or scene.way == "tls1.2":
        faults -= ALIKE
    if scene.mode == "script" and call.startswith("tls."):
        faults &= {"MemoryError", "SSLError"}
    if scene.edges in ("file", "thread") and not call.startswith("wire."):
        faults -= {"EINTR"}  # Python tries again itself (PEP 475)
    if scene.edges == "file" and not call.startswith("wire."):
        faults -= {"EAGAIN"}  # a file is always ready
    if scene.edges == "terminal" and call.startswith("stdin."):
        faults -= {"EIO"}  # there it is the end (row 36)
    return tuple(sorted(faults))


OK, SCRIPT, CONNECT, STDOUT, STDIN, TIMEOUT, TLS, SENDING, RECEIVING, DIALOG = 0, 1, 7, 23, 26, 28, 35, 55, 56, 64
READER_GONE = -signal.SIGPIPE
# By call, outside of dialog and handshake.
STATUSES: dict[str, set[int]] = {
    "wire.connect": {CONNECT},
    "wire.setsockopt": {OK},  # they only make things better
    "wire.recv": {RECEIVING},
    "wire.recv_into": {RECEIVING},
    "wire.send": {SENDING},
    "wire.sendmsg": {SENDING},
    "stdin.read": {STDIN},
    "stdin.readv": {STDIN},
    "stdin.recv_into": {STDIN},
    "stdin.send": {STDOUT},
    "stdout.write": {STDOUT},
    "stderr.write": {OK},  # row 29
    "wire-stdout.splice": {RECEIVING, STDOUT},
    "stdin-wire.splice": {STDIN, SENDING},
    "stdin-wire.sendfile": {STDIN, SENDING},
    "tls.do_handshake": {TLS},
    "tls.read": {RECEIVING, SENDING},  # before close_notify, too, what has come is read
    "tls.write": {SENDING},
    "tls.unwrap": {SENDING},
    "bio.read": {SENDING, RECEIVING},
    "bio.write": {RECEIVING},
}


def statuses(scene: Scene, fault: Fault, phase: str) -> set[int]:
    """The exit statuses that this fault may have, met in this phase; a negative one is death by a signal."""
    call, what = fault.call, fault.what
    if what.startswith("SIG"):
        return {-getattr(signal, what)}
    if call == "tls.do_handshake" and what == "SSLWantReadError":
        return {OK, TIMEOUT} if scene.mode == "pipe" else {OK, TIMEOUT, SCRIPT}
    if what in AGAIN or (call, what) == ("tls.read", "SSLWantReadError"):
        return {OK}
    if call in JOINED and what in NOT_THIS_WAY:
        return {OK}
    if what in ("EPIPE", "ECONNRESET") and call.endswith(("stdout.write", "stdin.send", "stdout.splice")):
        return {READER_GONE} | ({RECEIVING} if what == "ECONNRESET" and call.startswith("wire-") else set())
    if call in ("wire.connect", "wire.setsockopt", "stderr.write"):
        return STATUSES[call]
    found = STATUSES[call]
    if not call.startswith("std"):
        if phase == "handshake" or what.startswith("SSL"):
            found = {CONNECT} if what == "MemoryError" else {TLS}
        elif phase == "start" and scene.way == "upgraded":
            found = {DIALOG, TLS}  # the go-ahead may still have come
    # A line of a script that fails ends it; where nothing runs, the failure itself counts.
    return found | {SCRIPT} if scene.mode == "script" and not found & {STDIN, STDOUT} else found


def complaints_of_stderr(stderr: str, messages: Iterable[int]) -> list[str]:
    """What is wrong with it: it must have so many messages, each in its form."""
    found: list[str] = []
    for line in stderr.splitlines(keepends=True):
        if line.startswith(("cfcat: < ", "cfcat: > ")):
            continue  # a script is told of its dialog
        if line.startswith("  hint: ") and found:
            found[-1] += line
        else:
            found.append(line)
    if len(found) not in messages:
        return [f"{len(found)} messages"]
    wrong = []
    for message in found:
        try:
            text, _ = check_form(message)
        except AssertionError as error:
            wrong.append(f"the form of {message!r}: {error}")
        else:
            if text.startswith("internal error"):
                wrong.append("an internal error")
    return wrong
