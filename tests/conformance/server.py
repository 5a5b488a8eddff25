"""The scripted server: one listener, one thread, the steps of a scenario in order."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from tests.conformance.data import Event
from tests.conformance.script import STEPS, Play, Script, Step
from tests.conformance.signals import Signals

__all__ = ["Server"]

DEFAULT_HOST = "127.0.0.1"
BACKLOG = 128


class Server(Script):
    """Plays the script once, to whoever connects to `port`.

    `make_context` gives the TLS context for a certificate's name.
    """

    def __init__(self, steps: Sequence[Step], make_context: Callable[[str], ssl.SSLContext], signals: Signals) -> None:
        super().__init__(steps, signals, "server")
        self._make_context = make_context
        self._listener = self._bind()
        self.port: int = self._listener.getsockname()[1]

    def close(self) -> None:
        """Close listener and connections."""
        super().close()
        self._listener.close()

    def _bind(self) -> socket.socket:
        """A free port; with a first step `refuse` it is only kept free: nobody listens."""
        host, listens = DEFAULT_HOST, True
        if self._steps and self._steps[0]["do"] in ("listen", "refuse"):
            first = self._steps.pop(0)
            host = first.get("host", DEFAULT_HOST)
            listens = first["do"] == "listen"
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            listener.setblocking(False)
            listener.bind((host, 0))
            if listens:
                listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    def _accept(self, step: Step) -> Event:
        while True:
            self._stop.wait(self._listener, select.POLLIN)
            with contextlib.suppress(BlockingIOError, ConnectionError):  # gone again before it was accepted
                sock, _ = self._listener.accept()
                self._keep(step, sock)
                return {}

    def _tls_handshake(self, step: Step) -> Event:
        context = self._make_context(step["cert"])
        names: list[str | None] = []
        context.sni_callback = lambda _, name, __: names.append(name)
        if not self._channel(step).handshake(context):
            return {"result": "failed"}
        return {"result": "ok", "sni": names[-1] if names else None}

    STEPS: ClassVar[Mapping[str, Play]] = {**STEPS, "accept": _accept, "tls_handshake": _tls_handshake}
