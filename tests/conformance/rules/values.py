"""Rules about values: types that Python does not coerce, chunks that are no bytes, chunk sizes."""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance.data import Event, Json, data_size, decode, encode, is_undefined
from tests.conformance.patterns import AnyOf, Chunk, EndAfter, ErrorOf, Info
from tests.conformance.rules.expectation import HEAD, Expectation, Rule
from tests.conformance.rules.texts import NOT_BYTES, type_error
from tests.conformance.story import READS, RECEIVING, Act, SocketStory, Step, Story, written_bytes

__all__ = ["V4", "V14", "V15", "V18"]

REFERENCE_CHUNK_BYTES = 4096
ADDRESS_COMPLAINTS = (
    "Specified address",
    "Value out of range. Must be less than or equal to 65535.",
    "The value cannot be converted because it is negative and this API expects a positive number.",
)
TYPE_ERROR = ErrorOf("TypeError", ("TypeError",))
BAD_OPTION = ErrorOf("TypeError", ("TypeError", "OptionsError"))


OPTIONS = frozenset({"secureTransport", "allowHalfOpen", "highWaterMark"})

# ---------------------------------------------------------------- V4


def _strings_are_refused(story: Story, expectation: Expectation) -> None:
    for act in story.acts:
        if act.name == "write" and _is_text(act.op) and expectation.outcome(act.at) == {"resolved": None}:
            expectation.settle(act.at, rejected=type_error(NOT_BYTES))
    for socket in story.sockets.values():
        if socket.origin is None:
            _leave_out_strings(story, expectation, socket)


def _is_text(op: Mapping[str, Json]) -> bool:
    kind = op.get("type")
    return kind == "string" or (kind == "json" and isinstance(op["data"], str))


def _leave_out_strings(story: Story, expectation: Expectation, socket: SocketStory) -> None:
    """The server receives the other chunks only: share them out to the receiving steps anew."""
    family = (socket, socket.upgrade)
    writes = [act for act in story.acts if act.name == "write" and act.socket in family and act.called == act.at]
    if not any(_is_text(act.op) for act in writes):
        return
    sent = b"".join(written_bytes(act.op) for act in writes)
    kept = b"".join(written_bytes(act.op) for act in writes if not _is_text(act.op))
    steps = [step for step in story.on_connection(socket) if step.do in RECEIVING]
    entries = [(step, entry) for step in steps if (entry := expectation.entry(step))]
    if any(isinstance(entry["data"], dict) and "len" in entry["data"] for _, entry in entries):
        return
    if not sent.startswith(b"".join(decode(entry["data"]) for _, entry in entries)):
        return
    end = next((entry["ended"] for _, entry in reversed(entries) if "ended" in entry), "still_waiting")
    for step, entry in entries:
        size = step.step["n"] if step.do == "recv" else len(kept)
        piece, kept = kept[:size], kept[size:]
        short = {"ended": end} if step.do == "recv" and len(piece) < size else {}
        if decode(entry["data"]) != piece:
            expectation.see(step, data=encode(piece), **short)


V4 = Rule(
    "V4",
    "a write of a string resolves and sends its UTF-8",
    "it rejects with a TypeError and sends nothing",
    "documented that way; Python has bytes",
    _strings_are_refused,
)


# ---------------------------------------------------------------- V14


def _chunks_may_be_larger(story: Story, expectation: Expectation) -> None:
    for socket in story.sockets.values():
        steps = story.clear_steps(socket) if socket.secure != "on" else story.tls_steps(socket)
        stream = b"".join(decode(step.step["data"]) for step in steps if step.do == "send")
        reads = list(story.of(socket, *READS))
        for act in reads:
            data = expectation.outcome(act.at).get("data", "")
            if act.name == "read" and data_size(data) == REFERENCE_CHUNK_BYTES:
                before = tuple(other.at for other in reads if other.at < act.at)
                expectation.settle(act.at, done=False, data=Chunk(stream, REFERENCE_CHUNK_BYTES, before))
                _more_was_read(expectation, steps, len(stream), reads)


def _more_was_read(expectation: Expectation, steps: list[Step], size: int, reads: list[Act]) -> None:
    """Nothing may be left unread: then a close is no longer seen as a reset (C9)."""
    for step in steps:
        if expectation.entry(step).get("ended") == "reset":
            expectation.see(step, ended=EndAfter(size, tuple(act.at for act in reads)))


V14 = Rule(
    "V14",
    "a default read gives at most 4096 bytes",
    "it may give more of the same stream; where nothing is left unread, the peer then sees EOF for a reset",
    "speed; the borders of chunks mean nothing",
    _chunks_may_be_larger,
)


# ---------------------------------------------------------------- V15


def _no_coercion(story: Story, expectation: Expectation) -> None:
    connect = story.scenario.connect
    problem = _wrong_connect(connect["address"], connect.get("options", {}))
    if problem is not None and not (_right_address(connect["address"]) and _blames_address(expectation.trace[0])):
        _throws_at_once(story, expectation, problem)
        return
    _none_is_absent(story, expectation)
    for act in story.acts:
        _writes_and_reasons(act, expectation)
        _wrong_start_tls(story, expectation, act)


def _blames_address(event: Event) -> bool:
    """Does connect() throw for the address? That comes before the options (A13)."""
    return str(event.get("threw", {}).get("message", "")).startswith(ADDRESS_COMPLAINTS)


def _wrong_connect(address: Json, options: Json) -> ErrorOf | None:
    """The error for an argument of a wrong type; None when the types are right."""
    if not _right_address(address):
        return TYPE_ERROR
    if is_undefined(options) or options is None:
        return None  # Python's None is what an argument is that was not given
    if not isinstance(options, Mapping):
        return TYPE_ERROR
    secure, half_open = options.get("secureTransport", "off"), options.get("allowHalfOpen", False)
    high_water = options.get("highWaterMark")
    right = (
        (isinstance(secure, str) or is_undefined(secure))
        and (half_open in (False, True, None) or is_undefined(half_open))  # Python's bool is an int
        and (high_water is None or is_undefined(high_water) or _is_int(high_water))
    )
    return None if right else BAD_OPTION


def _right_address(address: Json) -> bool:
    if isinstance(address, str):
        return True
    if not isinstance(address, Mapping):
        return False
    port = address.get("port")
    return isinstance(address.get("hostname"), str) and (port == "{port}" or _is_int(port))


def _is_int(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _throws_at_once(story: Story, expectation: Expectation, error: ErrorOf) -> None:
    """connect() throws, no op is run, and the server waits for a connection that does not come."""
    threw = expectation.outcome(0).get("threw")
    expectation.settle(0, threw=error if threw is None else AnyOf((threw, error)))
    expectation.end_trace(1)
    accepts = any(step.do == "accept" for step in story.steps)
    expectation.replace_saw([{"do": "accept", "result": "none"}] if accepts else [])


def _none_is_absent(story: Story, expectation: Expectation) -> None:
    """None: the option is not given; the events of the program are those without it."""
    options = story.scenario.connect.get("options", {})
    nothing = options is None or (isinstance(options, dict) and options.get("highWaterMark", 0) is None)
    if nothing and "returned" in expectation.outcome(0):
        _default_high_water_mark(story, expectation)
    if not nothing or "threw" not in expectation.outcome(0):
        return
    socket = next(iter(story.sockets.values()))
    expectation.settle(0, returned=None)
    closes = any(op["op"] == "close" for op in story.scenario.client)
    for op in story.scenario.client:
        head: Event = {key: op[key] for key in HEAD if key in op}
        expectation.trace.append({**head, **_untouched(op, socket)})
        expectation.trace_rules.append(expectation.rule)
    entries: list[Event] = [{"do": "accept"} for step in story.steps if step.do == "accept"]
    ended = "eof" if closes else "still_waiting"
    entries += [{"do": step.do, "data": "", "ended": ended} for step in story.steps if step.do == "recv_until_eof"]
    expectation.replace_saw(entries)


def _default_high_water_mark(story: Story, expectation: Expectation) -> None:
    """The reference takes null for 0, and counts from there; cfcat counts from its default, 1."""
    for act in story.acts:
        outcome = expectation.outcome(act.at)
        if act.op.get("prop") == "desiredSize" and _is_int(outcome.get("returned")):
            expectation.settle(act.at, returned=outcome["returned"] + 1)
        elif act.name == "writer_ready" and outcome == {"pending": True}:
            expectation.settle(act.at, resolved=None)


def _untouched(op: Mapping[str, Json], socket: SocketStory) -> Event:
    """The outcome of an op on a socket that nobody has read from or written to."""
    match op:
        case {"op": "get", "prop": "secureTransport"}:
            return {"returned": "off"}
        case {"op": "get"}:
            return {"returned": False}
        case {"op": "opened"}:
            return {"resolved": Info(socket.text)}
        case {"op": "close"}:
            return {"resolved": None}
        case {"op": "get_reader" | "get_writer"}:
            return {"returned": None}
    return {"unforeseen": "no rule says what this op shows"}


def _writes_and_reasons(act: Act, expectation: Expectation) -> None:
    outcome = expectation.outcome(act.at)
    if act.name == "write" and act.op.get("type") == "undefined" and outcome == {"resolved": None}:
        expectation.settle(act.at, rejected=type_error(NOT_BYTES))
    error = outcome.get("rejected")
    reasons = [op["reason"] for op in expectation.scenario.client if op["op"] == "cancel" and "reason" in op]
    for reason in reasons:
        if isinstance(reason, str) or is_undefined(reason) or act.name not in READS:
            continue
        if error == {"name": "Error", "message": _javascript_text(reason)}:
            expectation.settle(act.at, **{**outcome, "rejected": ErrorOf("Error", ("CancelError",))})


def _javascript_text(value: Json) -> str:
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case list():
            return ",".join("" if member is None else _javascript_text(member) for member in value)
        case dict():
            return "[object Object]"
    return str(value)


def _wrong_start_tls(story: Story, expectation: Expectation, act: Act) -> None:
    """start_tls() with an expected name that is no string throws, and there is no new socket."""
    options = act.op.get("options")
    if act.name != "start_tls" or "returned" not in act.event or not isinstance(options, Mapping):
        return
    name = options.get("expectedServerHostname")
    if name is None or isinstance(name, str) or is_undefined(name):
        return
    expectation.settle(act.at, threw=TYPE_ERROR)
    new = story.sockets[act.op["as"]]
    for other in story.of(new):
        expectation.settle(other.at, missing=other.thing)
    result = "still_waiting" if story.closing(act.socket) is None else "failed"
    for step in story.on_connection(act.socket):
        if step.do == "tls_handshake" and step.saw is not None:
            entry = {**expectation.entry(step), "result": result, "sni": None}
            expectation.replace_saw([*expectation.saw[: step.saw], entry])
            break


V15 = Rule(
    "V15",
    "a value of a wrong type is coerced, or complained of in JavaScript's words; null is no value",
    "a TypeError (with the reference's text where it has one for the value); None is an argument not given, and "
    "no chunk",
    "Python does not coerce, and nobody expects it to",
    _no_coercion,
)


# ---------------------------------------------------------------- V18


def _unknown_options_are_refused(story: Story, expectation: Expectation) -> None:
    options = story.scenario.connect.get("options", {})
    given = (
        []
        if is_undefined(options) or not isinstance(options, Mapping)
        else [key for key in options if not is_undefined(options[key])]
    )
    if not OPTIONS.issuperset(given) and "threw" not in expectation.outcome(0):
        _throws_at_once(story, expectation, TYPE_ERROR)


V18 = Rule(
    "V18",
    "an option that there is not is ignored",
    "connect() throws a TypeError",
    "misspelt, it would mean clear text where TLS was asked for",
    _unknown_options_are_refused,
)
