"""A scripted peer: one thread that plays steps in order, and notes what they see.

It must not depend on cfcat: it is what cfcat is measured against.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from tests.conformance.channel import Channel, Stop, Stopped
from tests.conformance.data import Event, Json, ScenarioError, decode, encode
from tests.conformance.signals import Signals

__all__ = ["MOST", "STEPS", "Play", "Script", "Step"]

Step = Mapping[str, Json]
Play = Callable[[Any, Step], Event | None]

MOST = 1 << 20  # bytes at a time, where the step sets no limit
# What a step that waited when the script was stopped says of it; "ended" for those not named here.
STOPPED_MARKS: dict[str, Event] = {
    "accept": {"result": "none"},
    "tls_handshake": {"result": "still_waiting"},
    "probe": {"saw": "nothing"},
    "probe_raw": {"saw": "nothing"},
}
ENDED_MARK: Event = {"ended": "still_waiting"}


class Script:
    """Plays the script once. `saw` may be read at any time; it is complete after `stop()`."""

    STEPS: ClassVar[Mapping[str, Play]]
    SILENT: ClassVar[frozenset[str]] = frozenset({"sleep_ms"})  # they record nothing, stopped or not

    def __init__(self, steps: Sequence[Step], signals: Signals, name: str) -> None:
        self._steps = list(steps)
        self._signals = signals
        self._stop = Stop()
        self._channels: dict[str | None, Channel] = {}
        self._all: list[Channel] = []
        self._received = bytearray()  # by the step under way
        self._name = name
        self._thread = threading.Thread(target=self._run, name=f"conformance {name}", daemon=True)
        self.finished = threading.Event()
        self.saw: list[Event] = []
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    @property
    def has_begun(self) -> bool:
        return self._thread.ident is not None

    def stop(self) -> None:
        """Stop the script where it is, and wait for that. Connections stay as they are."""
        self._stop.set()
        self._signals.stop()
        self._thread.join()

    def close(self) -> None:
        """Close all connections."""
        for channel in self._all:
            channel.close()
        self._stop.close()

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
        except Exception as error:  # of the runner or the scenario, not of the other end
            self.error = error
        finally:
            self.finished.set()

    def _play(self, step: Step) -> Event | None:
        """Carry out one step and return what it saw; None when it does not observe."""
        play = self.STEPS.get(step["do"])
        if play is None:
            raise ScenarioError(f"unknown {self._name} step {step['do']!r}")
        return play(self, step)

    def _note(self, step: Step, seen: Event | None) -> None:
        if seen is not None:
            name = {"on": step["on"]} if "on" in step else {}
            self.saw.append({"do": step["do"], **name, **seen})

    def _seen_when_stopped(self, step: Step) -> Event | None:
        do = step["do"]
        if do in self.SILENT:
            return None
        return {**self._had(step), **STOPPED_MARKS.get(do, ENDED_MARK)}

    def _had(self, step: Step) -> Event:
        """What a step had when it was stopped."""
        return {"data": encode(bytes(self._received))} if step["do"] in ("recv", "recv_until_eof", "echo") else {}

    def _channel(self, step: Step) -> Channel:
        try:
            return self._channels[step.get("on")]
        except KeyError:
            raise ScenarioError(f"no connection for {step!r}") from None

    def _keep(self, step: Step, sock: socket.socket) -> None:
        channel = Channel(sock, self._stop)
        self._channels[step.get("on")] = channel
        self._all.append(channel)

    # ---- the steps

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

    def _tls_close_notify(self, step: Step) -> None:
        self._channel(step).close_notify()


STEPS: Mapping[str, Play] = {
    "send": Script._send,
    "send_raw": Script._send_raw,
    "recv": Script._recv,
    "recv_until_eof": Script._recv_until_eof,
    "recv_quiet": Script._recv_quiet,
    "echo": Script._echo,
    "probe": Script._probe,
    "shutdown_write": Script._shutdown_write,
    "close": Script._close,
    "reset": Script._reset,
    "sleep_ms": Script._sleep_ms,
    "signal": Script._signal,
    "wait": Script._wait,
    "tls_close_notify": Script._tls_close_notify,
}
