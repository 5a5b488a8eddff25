"""The scripted server: one listener, one thread, the steps of a scenario in order.

It must not depend on cfcat: it is what cfcat is measured against.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tests.conformance.channel import Channel, Stop, Stopped
from tests.conformance.data import Event, Json, ScenarioError, decode, encode
from tests.conformance.signals import Signals

__all__ = ["Server"]

Step = Mapping[str, Json]

DEFAULT_HOST = "127.0.0.1"
BACKLOG = 128
MOST = 1 << 20  # bytes at a time, where the step sets no limit
# What a step that waited when the script was stopped says of it; "ended" for those not named here.
STOPPED_MARKS: dict[str, Event] = {
    "accept": {"result": "none"},
    "tls_handshake": {"result": "still_waiting"},
    "probe": {"saw": "nothing"},
}
ENDED_MARK: Event = {"ended": "still_waiting"}


class Server:
    """Plays the script once. `port` and `saw` may be read at any time; `saw` is complete after `stop()`.

    `make_context` gives the TLS context for a certificate's name.
    """

    def __init__(self, steps: Sequence[Step], make_context: Callable[[str], ssl.SSLContext], signals: Signals) -> None:
        self._steps = list(steps)
        self._make_context = make_context
        self._signals = signals
        self._stop = Stop()
        self._channels: dict[str | None, Channel] = {}
        self._all: list[Channel] = []
        self._received = bytearray()  # by the step under way
        self._thread = threading.Thread(target=self._run, name="conformance server", daemon=True)
        self.finished = threading.Event()
        self.saw: list[Event] = []
        self.error: Exception | None = None
        self._listener = self._bind()
        self.port: int = self._listener.getsockname()[1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the script where it is, and wait for that. Connections stay as they are."""
        self._stop.set()
        self._signals.stop()
        self._thread.join()

    def close(self) -> None:
        """Close listener and connections."""
        for channel in self._all:
            channel.close()
        self._listener.close()
        self._stop.close()

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

    # ---- the script

    def _run(self) -> None:
        try:
            for step in self._steps:
                self._received.clear()
                try:
                    seen = self._play(step)
                except Stopped:
                    self._note(step, self._seen_when_stopped(step))
                    break
                self._note(step, seen)
        except Exception as error:  # of the runner or the scenario, not of the client
            self.error = error
        finally:
            self.finished.set()

    def _play(self, step: Step) -> Event | None:
        """Carry out one step and return what it saw; None when it does not observe."""
        play = STEPS.get(step["do"])
        if play is None:
            raise ScenarioError(f"unknown server step {step['do']!r}")
        return play(self, step)

    def _note(self, step: Step, seen: Event | None) -> None:
        if seen is not None:
            name = {"on": step["on"]} if "on" in step else {}
            self.saw.append({"do": step["do"], **name, **seen})

    def _seen_when_stopped(self, step: Step) -> Event | None:
        do = step["do"]
        if do == "sleep_ms":
            return None
        data = {"data": encode(bytes(self._received))} if do in ("recv", "recv_until_eof", "echo") else {}
        return {**data, **STOPPED_MARKS.get(do, ENDED_MARK)}

    def _channel(self, step: Step) -> Channel:
        try:
            return self._channels[step.get("on")]
        except KeyError:
            raise ScenarioError(f"no connection for {step!r}") from None

    # ---- the steps

    def _accept(self, step: Step) -> Event:
        while True:
            self._stop.wait(self._listener, select.POLLIN)
            with contextlib.suppress(BlockingIOError, ConnectionError):  # gone again before it was accepted
                sock, _ = self._listener.accept()
                channel = Channel(sock, self._stop)
                self._channels[step.get("on")] = channel
                self._all.append(channel)
                return {}

    def _send(self, step: Step) -> None:
        self._channel(step).send(decode(step["data"]))

    def _send_raw(self, step: Step) -> None:
        self._channel(step).send_raw(decode(step["data"]))

    def _receive(self, channel: Channel, count: int | None = None, *, echo: bool = False) -> Event:
        """Receive until an end, or exactly `count` bytes."""
        while count is None or len(self._received) < count:
            data = channel.receive(MOST if count is None else count - len(self._received))
            if not data:
                return {"data": encode(bytes(self._received)), "ended": channel.end}
            self._received += data
            if echo:
                channel.send(data)
        return {"data": encode(bytes(self._received))}

    def _recv(self, step: Step) -> Event:
        return self._receive(self._channel(step), int(step["n"]))

    def _recv_until_eof(self, step: Step) -> Event:
        return self._receive(self._channel(step))

    def _recv_quiet(self, step: Step) -> None:
        self._recv(step)

    def _echo(self, step: Step) -> Event:
        return self._receive(self._channel(step), echo=True)

    def _probe(self, step: Step) -> Event:
        channel = self._channel(step)
        try:
            data = channel.receive(MOST, time.monotonic() + step["ms"] / 1000)
        except TimeoutError:
            return {"saw": "nothing"}
        return {"saw": {"data": encode(data)} if data else channel.end}

    def _shutdown_write(self, step: Step) -> None:
        self._channel(step).shutdown_write()

    def _close(self, step: Step) -> None:
        self._channel(step).close()

    def _reset(self, step: Step) -> None:
        self._channel(step).reset()

    def _sleep_ms(self, step: Step) -> None:
        self._stop.wait(None, deadline=time.monotonic() + step["ms"] / 1000)

    def _signal(self, step: Step) -> None:
        self._signals.set(step["name"])

    def _wait(self, step: Step) -> None:
        if not self._signals.wait(step["name"]):
            raise Stopped

    def _tls_handshake(self, step: Step) -> Event:
        context = self._make_context(step["cert"])
        names: list[str | None] = []
        context.sni_callback = lambda _, name, __: names.append(name)
        if not self._channel(step).handshake(context):
            return {"result": "failed"}
        return {"result": "ok", "sni": names[-1] if names else None}

    def _tls_close_notify(self, step: Step) -> None:
        self._channel(step).close_notify()


STEPS: dict[str, Callable[[Server, Step], Event | None]] = {
    "accept": Server._accept,
    "send": Server._send,
    "send_raw": Server._send_raw,
    "recv": Server._recv,
    "recv_until_eof": Server._recv_until_eof,
    "recv_quiet": Server._recv_quiet,
    "echo": Server._echo,
    "probe": Server._probe,
    "shutdown_write": Server._shutdown_write,
    "close": Server._close,
    "reset": Server._reset,
    "sleep_ms": Server._sleep_ms,
    "signal": Server._signal,
    "wait": Server._wait,
    "tls_handshake": Server._tls_handshake,
    "tls_close_notify": Server._tls_close_notify,
}
