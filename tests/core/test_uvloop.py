"""The library on uvloop, which is not asyncio's own loop: the tests of sockets and streams, once more."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.core.test_sockets import DEV_RUN, PROJECT, STREAMS_AND_SOCKETS

FILES = (*STREAMS_AND_SOCKETS, "gathering", "leaving", "socket_says", "wire")


def test_sockets_and_streams_are_the_same_on_uvloop() -> None:
    """Nothing of ours depends on whose loop it is."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    command += [f"tests/core/test_{name}.py" for name in FILES]
    command += ["-k", "not tls12 and not upgraded12 and not row_58"]  # a fraction of the time for most of the truth
    environment = {**os.environ, DEV_RUN: "1", "CFCAT_TEST_LOOP": "uvloop"}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=55
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
