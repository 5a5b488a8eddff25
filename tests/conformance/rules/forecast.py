"""What an upgrade gives that cfcat makes and the reference does not (V8, V10).

The script tells how the handshake goes: the server takes it up with some certificate, answers in clear text, ends,
or says nothing. From there the new socket is like any other under TLS, and its events follow from the script too.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum, auto

from tests.conformance.data import Event, Json, decode, encode
from tests.conformance.patterns import AnyOf, ErrorOf, Hello, Info
from tests.conformance.rules.expectation import Expectation
from tests.conformance.rules.texts import LOST, WRITABLE_CLOSED, plain_error, type_error
from tests.conformance.story import ENDING, READS, SENDS, Act, Moment, SocketStory, Step, Story, written_bytes

__all__ = ["TLS_ERROR", "Forecast", "Handshake", "clear_text_before", "forecast"]

TLS_ERROR = ErrorOf("Error", ("TlsError",))
NAMES = {
    "good": ("localhost", "127.0.0.1", "::1"),
    "wrong_host": ("other.test",),
}
OTHER_END = AnyOf(("eof", "reset"))


class Handshake(Enum):
    """How it goes."""

    DONE = auto()
    FAILED = auto()
    UNANSWERED = auto()


def clear_text_before(story: Story, new: SocketStory) -> tuple[int, bool]:
    """How many bytes of clear text are unread when `new` is made, as far as the script makes that certain.

    The second value: may there be more? What the server sends after it saw the ClientHello is not counted: it
    comes during the handshake.
    """
    assert new.origin is not None
    read = story.read_size(new.origin, new.made)
    clear = len(story.written(new.origin, new.made))
    sent = sure = 0
    steps = story.clear_steps(new)
    for step in steps:
        if step.do in ("recv", "recv_quiet"):
            clear -= step.step["n"]
        if clear < 0:
            break  # it has the ClientHello
        if step.do == "wait" and (story.signalled(step.step["name"]) or 0) > new.made:
            break
        if step.do in SENDS:
            sent += len(decode(step.step["data"]))
            if _has_arrived(story, step, new.made) or read > sure:
                sure = sent
    return max(0, sure - read), sent > max(sure, read)


def _has_arrived(story: Story, send: Step, moment: Moment) -> bool:
    """Did the server say after a send that it was done, and the client wait for that?"""
    later = [step for step in story.steps if step.do == "signal" and step.number > send.number]
    return any(story.waited_for(step.step["name"], moment) for step in later)


@dataclass
class Forecast:
    """The expected events of one upgraded socket, `new`, and of the server that it talks to."""

    story: Story
    new: SocketStory
    handshake: Handshake  # as the client knows
    server_result: str  # as the server knows

    def foretell(self, expectation: Expectation) -> None:
        """Put the events of the new socket and the server's view in place of the reference's."""
        stream = _Stream(self) if self.handshake is Handshake.DONE else None
        for act in self.story.of(self.new):
            outcome = expectation.outcome(act.at)
            if "started" in outcome or "returned" in outcome:
                continue
            expectation.settle(act.at, **self._outcome(act, outcome, stream))
        expectation.replace_saw(self._server_saw(expectation.saw, stream))

    # ---- the client's events

    def _outcome(self, act: Act, recorded: Event, stream: _Stream | None) -> Event:
        if stream is not None:
            return stream.outcome(act, recorded)
        if self.handshake is Handshake.UNANSWERED:
            return {"pending": True}
        if act.name == "close":
            return {"resolved": None}
        data = {"data": ""} if act.name in ("read_n", "read_all") else {}
        if act.name in ("write", "writer_close"):
            return {"rejected": AnyOf((TLS_ERROR, type_error(WRITABLE_CLOSED)))}
        return {"rejected": TLS_ERROR, **data}

    # ---- the server's entries

    def _server_saw(self, recorded: list[Event], stream: _Stream | None) -> list[Event]:
        """Walk the script on: past the steps where the reference's server waited in vain."""
        entries: list[Event] = []
        clear = len(self.story.written(self.new.origin or self.new, self.new.made))
        before = {step.number for step in self.story.clear_steps(self.new)}
        shaken = False
        for step in self.story.steps:
            if step.connection != self.new.connection or (step.number in before and step.do != "recv"):
                if step.saw is not None and not shaken:
                    entries.append(recorded[step.saw])
                elif step.do == "accept":
                    return entries
                continue
            head: Event = {"do": step.do, **({"on": step.step["on"]} if "on" in step.step else {})}
            if step.number in before:
                clear -= step.step["n"]
                entries.append(self._clear_recv(head, step, recorded, clear))
            elif step.do == "tls_handshake" and not shaken:
                shaken = True
                entries.append({**head, **self._handshake_entry()})
                if self.server_result == "still_waiting":
                    return entries
            else:
                entry = stream.entry(step) if stream is not None else _after_failure(step)
                if entry is not None:
                    entries.append({**head, **entry})
                    if entry.get("ended") == "still_waiting":
                        return entries
        return entries

    def _clear_recv(self, head: Event, step: Step, recorded: list[Event], clear_left: int) -> Event:
        size = step.step["n"]
        if clear_left >= 0:
            return recorded[step.saw] if step.saw is not None else {**head, "data": ""}
        written = self.story.written(self.new.origin or self.new, self.new.made)
        taken = written[len(written) - max(0, clear_left + size) :] if clear_left + size > 0 else b""
        return {**head, "data": Hello(taken, size)}

    def _handshake_entry(self) -> Event:
        if self.server_result != "ok":
            return {"result": self.server_result}
        return {"result": "ok", "sni": None if _is_ip(_name(self.new)) else _name(self.new)}


class _Stream:
    """The two directions of the new socket after its handshake, played from both scripts."""

    def __init__(self, of: Forecast) -> None:
        self._story, self._new = of.story, of.new
        steps = of.story.tls_steps(of.new)
        self._incoming = b"".join(decode(step.step["data"]) for step in steps if step.do == "send")
        self._sent = b"".join(written_bytes(act.op) for act in of.story.of(of.new, "write", "write_many"))
        dos = [step.do for step in steps]
        self._notified = "tls_close_notify" in dos
        self._ends = self._notified or any(do in ENDING for do in dos)
        self._position = 0  # of the reads
        self._taken = 0  # of the server's receiving steps
        self._at_end: Moment | None = None

    @property
    def _lost(self) -> bool:
        return self._at_end is not None and not self._notified

    def outcome(self, act: Act, recorded: Event) -> Event:
        match act.name:
            case "opened":
                return {"resolved": Info(self._new.text)}
            case "close" | "write" | "write_many" | "writer_close":
                return {"resolved": None}
            case "closed":
                return self._closed(act)
            case "reader_closed":
                return {"resolved": None} if self._at_end is not None else {"pending": True}
        return self._read(act) if act.name in READS else recorded

    def _closed(self, act: Act) -> Event:
        if self._lost:
            return {"rejected": plain_error(LOST)}
        closing = self._story.closing(self._new)
        if closing is not None and closing < act.at:
            return {"resolved": None}
        return {"resolved": None} if self._at_end is not None and not self._new.half_open else {"pending": True}

    def _read(self, act: Act) -> Event:
        left = self._incoming[self._position :]
        wanted = {"read": len(left), "read_byob": act.op.get("size"), "read_n": act.op.get("n")}.get(act.name)
        if left and wanted is not None and (len(left) >= wanted or act.name == "read_byob"):
            chunk = left[:wanted]
            self._position += len(chunk)
            return {"done": False, "data": encode(chunk)}
        if not self._ends:
            return {"pending": True}
        self._position = len(self._incoming)
        self._at_end = act.at
        data = {"data": encode(left)} if act.name in ("read_n", "read_all") else {}
        return {"done": True, **data} if self._notified else {"rejected": plain_error(LOST), **data}

    def entry(self, step: Step) -> Event | None:
        """What a step after the handshake sees; None when it does not observe."""
        left = self._sent[self._taken :]
        match step.do:
            case "recv" if len(left) >= step.step["n"]:
                self._taken += step.step["n"]
                return {"data": encode(left[: step.step["n"]])}
            case "recv" | "recv_until_eof" | "echo":
                self._taken = len(self._sent)
                return {"data": encode(left), "ended": self._end}
            case "probe":
                self._taken = len(self._sent)
                return {"saw": {"data": encode(left)} if left else AnyOf(("nothing", self._end))}
        return None

    @property
    def _end(self) -> Json:
        if self._lost:
            return "eof"  # the connection is broken: nothing can be said under TLS (as T7)
        story, new = self._story, self._new
        ends = story.closing(new) is not None or story.first(new, "writer_close", "writable_close") is not None
        if ends or (self._at_end is not None and not new.half_open):
            return "close_notify"
        return "still_waiting"


def forecast(story: Story, new: SocketStory) -> Forecast:
    """Tell from the server's script how the handshake of an upgrade goes."""
    assert new.origin is not None
    clear = len(story.written(new.origin, new.made))
    read = story.read_size(new.origin, new.made)
    sent = 0
    answered = eaten = False
    for step in story.clear_steps(new):
        match step.do:
            case "recv" | "recv_quiet":
                clear -= step.step["n"]
                eaten = eaten or clear < 0
            case "recv_until_eof":
                return Forecast(story, new, Handshake.UNANSWERED, "still_waiting")
            case "send" | "send_raw":
                sent += len(decode(step.step["data"]))
                answered = answered or sent > read
            case "echo" | "shutdown_write" | "close" | "reset":
                answered = True
    if answered:
        return Forecast(story, new, Handshake.FAILED, "failed")
    shakes = [step for step in story.on_connection(new) if step.do == "tls_handshake"]
    if not shakes:
        return Forecast(story, new, Handshake.UNANSWERED, "still_waiting")
    if eaten:  # what is left of the ClientHello is no TLS, and gets no alert
        return Forecast(story, new, Handshake.UNANSWERED, "failed")
    if _name(new).lower() in NAMES.get(shakes[0].step["cert"], ()):
        return Forecast(story, new, Handshake.DONE, "ok")
    return Forecast(story, new, Handshake.FAILED, "failed")


def _after_failure(step: Step) -> Event | None:
    match step.do:
        case "recv" | "recv_until_eof" | "echo":
            return {"data": "", "ended": OTHER_END}
        case "probe":
            return {"saw": OTHER_END}
    return None


def _name(socket: SocketStory) -> str:
    return socket.expected_host or socket.host


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
