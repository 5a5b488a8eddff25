"""Run one daemon for as long as standard input is open: `supervise.py JSON`.

A program of its own, because the daemon must not outlive the test run, not even one that is killed: the
run holds the other end of the pipe, and nothing closes it later than its death. The JSON object has

    commands   the daemon's processes, each in a process group of its own
    folder     their working directory, with `log` for what they print; removed after an orderly stop
    user       whom to run as (only where this process is root), or null
    env        their environment
    stop       the number of the signal that asks them to end in order

Exit status: 0 after an orderly stop, 1 if a process ended by itself.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

__all__: list[str] = []

_STOP_S = 5.0


def main() -> int:
    job = json.loads(sys.argv[1])
    # A handler that does nothing, so that the death of a child is written to the wake-up descriptor.
    awake, wake_up = os.pipe()
    os.set_blocking(wake_up, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_up)
    identity = {"user": job["user"], "group": job["user"], "extra_groups": []} if job["user"] else {}
    children: list[subprocess.Popen[bytes]] = []
    try:
        with open(os.path.join(job["folder"], "log"), "ab") as log:
            for command in job["commands"]:
                child = subprocess.Popen(
                    command,
                    cwd=job["folder"],
                    env=job["env"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **identity,
                )
                children.append(child)
        while all(child.poll() is None for child in children):
            if 0 in select.select([0, awake], [], [])[0]:
                break
            os.read(awake, 4096)
        else:
            return 1
    finally:
        stop(children, job["stop"])
    shutil.rmtree(job["folder"], ignore_errors=True)
    return 0


def stop(children: list[subprocess.Popen[bytes]], request: int) -> None:
    """Ask each process group to end, then end it."""
    for child in children:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, request)
    until = time.monotonic() + _STOP_S
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, until - time.monotonic()))
        with suppress(ProcessLookupError):  # what is left of the group
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


if __name__ == "__main__":
    sys.exit(main())
