"""The report of a run: any facts give an object of the schema, in which nothing can do harm."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.core.certificate import PeerCertificate, TlsInfo
from cfcat.errors import IdleTimeout, LostError, SocketError, StdoutError, TruncatedError
from cfcat.record.events import Connecting, Phase
from cfcat.record.making import Attempted, Connected, Proxied, Resolved, TlsEstablished
from cfcat.report.messages import Message
from cfcat.report.run_report import BEFORE_SESSION, RunReport
from tests.helpers.json_schema import violations

SCHEMA: dict[str, Any] = json.loads(files("cfcat.report").joinpath("report.schema.json").read_text())
unhurried = settings(deadline=None)  # a slow machine is no failure

texts = st.text(max_size=20)
seconds = st.floats(0, 1e6)
certificates = st.builds(PeerCertificate, texts, st.lists(texts).map(tuple), texts, texts, texts, texts, texts)
infos = st.builds(
    TlsInfo, texts, texts, st.none() | texts, st.none() | texts, st.booleans(), st.lists(certificates).map(tuple)
)
failures = st.sampled_from([None, OSError(111, "x"), OSError("x")])
attempts = st.builds(Attempted, texts, st.sampled_from(["connected", "failed", "abandoned"]), failures, seconds)
events = st.one_of(
    attempts,
    st.builds(Resolved, st.lists(texts).map(tuple), seconds),
    st.builds(Connected, texts, texts, st.floats(1e6, 2e6)),  # since before the name was resolved
    st.builds(TlsEstablished, infos, seconds),
    st.builds(Connecting, texts, proxy=st.none() | texts),
    st.builds(Proxied, texts, texts, seconds, texts, texts),
)
errors = st.sampled_from([None, LostError(), TruncatedError("x"), IdleTimeout("x"), BrokenPipeError(), ValueError()])


@unhurried
@given(
    texts,
    st.sampled_from(["pipe", "script", "repl"]),
    st.booleans(),
    st.lists(events),
    errors,
    st.integers(0, 143),
    st.none() | st.builds(Message, texts, texts),
)
def test_any_facts(
    target: str, mode: str, direct: bool, told: list[Any], error: Exception | None, status: int, message: Message | None
) -> None:
    """In any order: the object is of the schema, and the line is printable ASCII."""
    report = RunReport(target, mode, direct)
    for event in told:
        report.take(event)
    report.error, report.status, report.message = error, status, message
    line = report.as_json()
    assert line.isascii()
    assert line.isprintable()
    assert list(violations(json.loads(line), SCHEMA)) == []


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (LostError(), "reset"),
        (TruncatedError("x"), "truncated"),
        (IdleTimeout("x"), "idle"),
        (BrokenPipeError(), "stdout closed"),
        (StdoutError("x"), "failed"),
        (SocketError("x"), "failed"),
    ],
)
def test_how_a_session_ends(error: Exception, end: str) -> None:
    """One word for each; and none where there was no session."""
    report = RunReport("h:1", error=error, status=1)
    for phase in BEFORE_SESSION:
        report.phase = phase
        assert report.end is None
    report.phase = "session"
    assert report.end == end


@pytest.mark.parametrize(
    ("mode", "last", "end"),
    [
        ("pipe", "received", "peer ended"),
        ("pipe", "sent", "stdin ended"),  # -q ran out, or half-open
        ("pipe", None, "stdin ended"),
        ("script", None, "stdin ended"),
        ("repl", None, "quit"),
        ("repl", "received", "peer ended"),
    ],
)
def test_an_end_in_order(mode: str, last: Any, end: str) -> None:
    """The side that ended last has ended the run."""
    assert RunReport("h:1", mode, last_end=last).end == end


@pytest.mark.parametrize("direct", [True, False])
def test_phases(direct: bool) -> None:
    """What comes next is known from what has happened."""
    report = RunReport("h:1", handshake_next=direct)
    phases: list[Phase] = [report.phase]
    for event in (
        Resolved(("1.2.3.4:1",), 0.1),
        Connected("1.2.3.4:1", "5.6.7.8:9", 0.5),
        TlsEstablished(TlsInfo("TLSv1.3", "x", None, None, True, ()), 0.2),
    ):
        report.take(event)
        phases.append(report.phase)
    assert phases == ["usage", "connect", "tls" if direct else "session", "session"]
    told = json.loads(report.as_json())
    assert told["times"] == {
        "dns": 0.1,
        "connect": 0.4,
        "proxy": None,
        "starttls": None,
        "tls": 0.2,
        "first_byte": None,
        "total": None,
    }
    assert told["proxy"] is None
    assert told["tls"]["certificate"] is None
    assert told["phase"] == "done"


def test_a_proxy_is_a_hop_of_its_own() -> None:
    """Both names were resolved, and TCP, proxy and TLS took their time one after the other."""
    report = RunReport("h:1")
    for event in (
        Connecting("h:1", proxy="https://p:443"),
        Resolved(("1.2.3.4:443",), 0.1, "p:443"),
        Resolved(("5.6.7.8:1",), 0.2, "h:1"),
        Proxied("https://p:443", "h:1", 0.4, "9.9.9.9:5", "TLSv1.3, X"),
        Connected("1.2.3.4:443", "5.6.7.8:9", 1.0),
    ):
        report.take(event)
    told = json.loads(report.as_json())
    assert told["proxy"] == {"url": "https://p:443", "tls": "TLSv1.3, X", "bound_address": "9.9.9.9:5"}
    assert (told["times"]["dns"], told["times"]["connect"], told["times"]["proxy"]) == (0.3, 0.3, 0.4)
    assert list(violations(told, SCHEMA)) == []


def test_a_proxy_that_did_not_connect_is_named() -> None:
    """It is known from the beginning."""
    report = RunReport("h:1")
    report.take(Connecting("h:1", proxy="socks5://p:1080"))
    assert json.loads(report.as_json())["proxy"] == {"url": "socks5://p:1080", "tls": None, "bound_address": None}
