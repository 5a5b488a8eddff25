"""The scripted client: connections to one listener, one thread, the steps of a scenario in order."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from tests.conformance.data import Event, decode, encode
from tests.conformance.script import MOST, STEPS, Play, Script, Step
from tests.conformance.signals import Signals

__all__ = ["Client"]

CONNECT_S = 5.0
SERVER_NAME = "localhost"


class Client(Script):
    """Plays the script once. `make_context` gives the TLS context, trusting the test CA or not."""

    SILENT: ClassVar[frozenset[str]] = frozenset({"sleep_ms", "send", "recv_quiet"})

    def __init__(self, steps: Sequence[Step], make_context: Callable[[bool], ssl.SSLContext], signals: Signals) -> None:
        super().__init__(steps, signals, "client")
        self._make_context = make_context
        self._address: tuple[str, int] | str = ""
        self._drained = 0  # by the `drain` under way
        self.ports: dict[str | None, int] = {}  # each connection's own, by its name

    def connect_to(self, address: tuple[str, int] | str) -> None:
        """Begin: a host with its port, or the path of a Unix socket."""
        self._address = address
        self.start()

    def _connect(self, step: Step) -> Event:
        sock = self._make_socket(step)
        self._keep(step, sock)
        # A connection that is reset at once is made all the same. connect() must not wait: when it has waited it
        # tells of the reset and what came before is lost; recv() tells of it behind what came.
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(self._address)
        if not self._stop.wait(sock, select.POLLOUT, time.monotonic() + CONNECT_S):
            raise TimeoutError(f"no connection to {self._address} within {CONNECT_S} s")
        return {}

    def _make_socket(self, step: Step) -> socket.socket:
        """A socket for the listener's address; its port is known before it connects."""
        if isinstance(self._address, str):
            return socket.socket(socket.AF_UNIX)
        host, _ = self._address
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.bind((host, 0))  # both are loopback
        self.ports[step.get("on")] = sock.getsockname()[1]
        return sock

    def _send_until_blocked(self, step: Step) -> Event:
        all_sent = self._channel(step).send_for(decode(step["data"]), step["ms"] / 1000)
        return {"sent": "all" if all_sent else "some"}

    def _drain(self, step: Step) -> Event:
        channel = self._channel(step)
        self._drained = 0
        while data := channel.receive(MOST):
            self._drained += len(data)
        return {"ended": channel.end, **self._complete(step)}

    def _complete(self, step: Step) -> Event:
        return {"complete": self._drained == step["n"]} if "n" in step else {}

    def _had(self, step: Step) -> Event:
        match step["do"]:
            case "drain":
                return self._complete(step)
            case "send_until_blocked":
                return {"sent": "some"}
        return super()._had(step)

    def _probe_raw(self, step: Step) -> Event:
        channel = self._channel(step)
        try:
            data = channel.receive_raw(MOST, time.monotonic() + step["ms"] / 1000)
        except TimeoutError:
            return {"saw": "nothing"}
        return {"saw": {"data": encode(data)} if data else channel.end}

    def _tls_handshake(self, step: Step) -> Event:
        context = self._make_context(step.get("trust", True))
        with contextlib.suppress(OSError):
            if self._channel(step).handshake(context, SERVER_NAME):
                return {"result": "ok"}
        return {"result": "failed"}

    STEPS: ClassVar[Mapping[str, Play]] = {
        **STEPS,
        "connect": _connect,
        "send_until_blocked": _send_until_blocked,
        "drain": _drain,
        "probe_raw": _probe_raw,
        "tls_handshake": _tls_handshake,
    }
