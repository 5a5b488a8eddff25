"""The process that `forking.py` starts: it loads cfcat once, and becomes a run of it, in a fork, over and over.

    python forked.py DESCRIPTOR

It is orphaned on purpose: a fork whose parent has ended is the tests' own child, who can wait for it.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import cfcat.__main__
from cfcat.program.start import run

NOT_LOADED = ("cfcat.__main__", "cfcat.zipped")
INTEGER = array.array("i").itemsize


def load() -> None:
    """Import all of it, and make the parser once."""
    for module in pkgutil.walk_packages(cfcat.__path__, "cfcat."):
        if module.name not in NOT_LOADED:
            importlib.import_module(module.name)
    import typer

    from cfcat.program.cli import app

    command = typer.main.get_command(app)
    typer.main.get_command = lambda typer_instance: command
    gc.collect()
    gc.freeze()


def serve(control: socket.socket) -> None:
    """Fork for each order; returns in a fork, which is then to be the program, and ends when nobody gives orders."""
    while head := _order(control):
        folder, arguments, descriptors = head
        told, tells = os.pipe()
        if not (between := os.fork()):
            os.setsid()
            if child := os.fork():
                os.write(tells, child.to_bytes(4, "big"))
                os._exit(0)
            control.close()
            become(folder, arguments, descriptors)
            return
        os.close(tells)
        os.waitpid(between, 0)
        control.sendall(os.read(told, 4))
        for each in (told, *descriptors):
            os.close(each)
    os._exit(0)


def _order(control: socket.socket) -> tuple[str, list[str], list[int]] | None:
    head, ancillary, _, _ = control.recvmsg(4, socket.CMSG_SPACE(3 * INTEGER))
    if not head:
        return None
    descriptors = array.array("i", ancillary[0][2])
    size = int.from_bytes(head, "big")
    order = b""
    while len(order) < size:
        order += control.recv(size - len(order))
    folder, *arguments = json.loads(order)
    return folder, arguments, list(descriptors)


def become(folder: str, arguments: Sequence[str], descriptors: Sequence[int]) -> None:
    """Take over what Popen and the interpreter would have prepared."""
    os.setsid()
    os.chdir(folder)
    for number, given in enumerate(descriptors):
        os.dup2(given, number)
    os.closerange(3, max(descriptors) + 100)
    sys.argv = [cfcat.__main__.__file__, *arguments]


def leave(status: int) -> NoReturn:
    """End as the interpreter does, only that it takes nothing apart that was loaded before the fork."""
    cast(Any, threading)._shutdown()  # waits for threads
    cast(Any, atexit)._run_exitfuncs()
    gc.collect()  # some mistakes are told by destructors; what was loaded is frozen, and not looked at
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    load()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    serve(socket.socket(fileno=int(sys.argv[1])))
    leave(run())
