"""The dialer to a Unix socket: a path, or on Linux a name without a file (`unix:@name`)."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from cfcat.core.address import Target, bound_name, unix_path
from cfcat.core.dial import connect_failed
from cfcat.core.race import Dialed
from cfcat.core.waiting import sleep
from cfcat.errors import Attempt, OptionsError

if TYPE_CHECKING:
    from cfcat.core.options import SocketOptions
    from cfcat.core.watched import Capture
    from cfcat.record.making import Outcome, Trace

__all__ = ["ByPath", "check_options"]

# A listener whose backlog is full: the kernel says so at once, and nothing tells when there is room. Often enough for
# a person, and cheap.
RETRY_S = 0.05


def check_options(target: Target, options: SocketOptions) -> None:
    """Raise OptionsError for what is about addresses of a network, and for TLS without a name to verify."""
    network = {"via": "a proxy", "source": "a source", "address_family": "an address family", "policy": "a policy"}
    for name, what in network.items():
        if getattr(options, name) is not None:
            raise OptionsError(f"{target.text} is a Unix socket: {what} means nothing there")
    if options.secure_transport == "on" and options.expected_server_hostname is None:
        raise OptionsError(f"{target.text} is a Unix socket: TLS needs the name of the server")


class ByPath:
    """Dials a Unix socket. `capture`: is told what passes."""

    def __init__(self, capture: Capture | None = None) -> None:
        self._capture = capture

    async def __call__(self, target: Target, *, trace: Trace | None) -> Dialed:
        began = time.monotonic()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        outcome: Outcome = "abandoned"
        failure: OSError | None = None
        if trace is not None:
            from cfcat.record.making import Resolved  # lazy: most runs tell nobody

            trace(Resolved((target.text,), 0.0, target.text))
        try:
            sock.setblocking(False)
            await _connect(sock, bound_name(unix_path(target.text) or ""))
            if self._capture is not None:
                from cfcat.core.watched import WatchedSocket  # lazy: most connections are not watched

                sock = WatchedSocket(sock, self._capture, accepted=False)
            outcome = "connected"
        except OSError as error:
            outcome, failure = "failed", error
            attempt = Attempt(target.text, error, time.monotonic() - began)
            raise connect_failed(target, f"{target.text}: {_reason(error)}", [attempt]) from error
        finally:
            if outcome != "connected":
                sock.close()
            if trace is not None:
                from cfcat.record.making import Attempted  # lazy: as above

                trace(Attempted(target.text, outcome, failure, time.monotonic() - began))
        return Dialed(sock, time.monotonic() - began)

    def missing(self, target: Target) -> str:
        return f"{target.text}: no connection"


async def _connect(sock: socket.socket, name: str) -> None:
    while True:
        try:
            sock.connect(name)
        except (BlockingIOError, InterruptedError):
            await sleep(RETRY_S)
        else:
            return


def _reason(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
