"""Rows 1 to 10 of the fault matrix: names, addresses, and connections that do not come about.

A resolver cannot be made to fail or to hang without the whole machine, so in the rows about names the process begins
by replacing its own `socket.getaddrinfo`. What no loopback address does is injected into the system call itself.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.faults.ways import at_once, check_message, injecting, resolving
from tests.helpers.peers import Peer, blackhole, refusing, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

# What a deadline may take beyond its time: the start of Python, and a busy machine.
SLACK_S = 0.8
SHORT_S = 0.4
SOON_S = 0.3
TIMEOUT_HINT = "--connect-timeout SECS waits longer"


def hello(conn: Peer) -> None:
    """Speak first."""
    conn.send(b"hello")


# ---------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("EAI_NONAME", "Name or service not known"),
        ("EAI_NODATA", "No address associated with hostname"),
        ("EAI_FAIL", "Non-recoverable failure in name resolution"),
    ],
)
def test_row_01_name_does_not_exist(code: str, text: str) -> None:
    """6, and one line: the name and the reason."""
    by = resolving(answer=f"raise socket.gaierror(socket.{code}, {text!r})")
    result = cfcat("name.invalid:1", stdin=b"data", by=by)
    assert result == Result(b"", f"cfcat: name.invalid:1: {text[0].lower()}{text[1:]}\n", 6)


def test_row_02_resolver_fails_for_now() -> None:
    """6; it says that this is temporary, and that it may be worth another try."""
    by = resolving(answer="raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')")
    assert cfcat("name.invalid:1", stdin=b"data", by=by) == Result(
        b"",
        "cfcat: name.invalid:1: temporary failure in name resolution\n"
        "  hint: the resolver could not answer just now; try again\n",
        6,
    )


HANG = "print('asked', flush=True), __import__('time').sleep(60)"


def test_row_03_resolver_hangs_until_the_deadline() -> None:
    """28: it cannot be interrupted, and is not waited for."""
    with start("--connect-timeout", str(SHORT_S), "name.invalid:1", by=resolving(answer=HANG)) as program:
        program.read_until(b"asked")
        began = time.monotonic()
        result = finish(program)
        assert time.monotonic() - began < SHORT_S + SLACK_S
    text = f"cfcat: name.invalid:1: no connection after {SHORT_S} s\n  hint: {TIMEOUT_HINT}\n"
    assert result == Result(b"asked\n", text, 28)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_row_03_resolver_hangs_until_a_signal(number: int) -> None:
    """Dead by the signal, at once: nobody waits for the thread that asks."""
    with start("name.invalid:1", by=resolving(answer=HANG)) as program:
        program.read_until(b"asked")
        began = time.monotonic()
        os.kill(program.pid, number)
        result = finish(program)
        assert time.monotonic() - began < SOON_S
    assert result == Result(b"asked\n", "", -number)


NONSENSE = {
    "\tx:1": 2,
    "a b:1": 2,
    "x\x01y:1": 2,
    "": 2,
    ":1": 2,
    "[::1": 2,
    "[]:1": 2,
    "[:1": 2,
    "]:1": 2,
    "[::1]1": 2,
    "[fe80::1%]:1": 2,
    "[fe80::1%a b]:1": 2,
    "[fe80::1%nowhere]:1": 6,
    "h:0": 2,
    "h:65536": 2,
    "h:-1": 2,
    "h:+1": 2,
    "h:1e3": 2,
    "h:no-such-service": 2,
    "h:\u0661": 2,
    "\u2603:1": 2,
    "\udcff:1": 2,  # a byte that is no UTF-8
    "x" * 64 + ":1": 6,
    "x." * 127 + "x:1": 2,
    "a..b:1": 6,
    ".:1": 6,
    "-:1": 6,
    "xn--\x7f:1": 2,
    "xn--a-\xe4:1": 2,
    "1.2.3.4.5:1": 6,
    "999.1.1.1:1": 6,
}


def test_row_04_names_and_ports_that_are_none() -> None:
    """2 where it cannot be typed rightly, 6 where no resolver knows it; one message, and above all no traceback."""
    results = at_once(partial(cfcat, "--", target, stdin=b"data") for target in NONSENSE)
    for (target, status), result in zip(NONSENSE.items(), results, strict=True):
        assert (result.status, result.stdout) == (status, b""), (target, result)
        check_form(result.stderr)


# ------------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(("option", "tried"), [(None, "::1, 127.0.0.1"), ("-4", "127.0.0.1"), ("-6", "::1")])
def test_row_05_refused_names_what_was_tried(option: str | None, tried: str) -> None:
    """Every address of the name, in the order of the attempts, and only those of the family."""
    with refusing("::1") as port:
        options = [option] if option else []
        result = cfcat(*options, f"many.test:{port}", stdin=b"data", by=resolving("::1", "127.0.0.1"))
    assert result == Result(b"", f"cfcat: many.test:{port}: connection refused (tried {tried})\n", 7)


UNREACHABLE = pytest.mark.parametrize(
    ("code", "text"), [("ENETUNREACH", "network is unreachable"), ("EHOSTUNREACH", "no route to host")]
)


@UNREACHABLE
def test_row_06_unreachable_names_what_was_tried(code: str, text: str) -> None:
    """7; the same reason for all is told once."""
    by = injecting(f"connect:error={code}") + resolving("::1", "127.0.0.1")
    result = cfcat("many.test:1", stdin=b"data", by=by)
    assert result == Result(b"", f"cfcat: many.test:1: {text} (tried ::1, 127.0.0.1)\n", 7)


@UNREACHABLE
def test_row_06_unreachable_ipv6_falls_to_ipv4_silently(code: str, text: str) -> None:
    """As on the many machines that have IPv6 addresses and no IPv6."""
    with serve(hello) as server:
        by = injecting(f"connect:error={code}:when=1") + resolving("::1", "127.0.0.1")
        assert cfcat(f"many.test:{server.port}", by=by) == Result(b"hello", "", 0)


def test_row_06_reasons_that_differ() -> None:
    """Each address with its own."""
    with refusing() as port:
        by = injecting("connect:error=EHOSTUNREACH:when=1") + resolving("::1", "127.0.0.1")
        result = cfcat(f"many.test:{port}", by=by)
    reasons = "::1: no route to host, 127.0.0.1: connection refused"
    assert result == Result(b"", f"cfcat: many.test:{port}: could not connect ({reasons})\n", 7)


@pytest.mark.parametrize("first", ["refused", "blackhole"])
def test_row_07_second_address_works(first: str) -> None:
    """It is tried after a quarter of a second, or at once where the first has failed."""
    with serve(hello) as server, socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("::1", server.port))
        if first == "blackhole":
            other.listen(0)
            filler = socket.create_connection(("::1", server.port))
        else:
            filler = socket.socket()
        with filler:
            began = time.monotonic()
            assert cfcat(f"many.test:{server.port}", by=resolving("::1", "127.0.0.1")) == Result(b"hello", "", 0)
            assert time.monotonic() - began < 0.25 + SLACK_S


def check_connect_timeout(target: str, by: list[str] | None = None) -> None:
    """28 when the time is up, and not before."""
    began = time.monotonic()
    result = cfcat("--connect-timeout", str(SHORT_S), target, stdin=b"data", by=by or ())
    assert SHORT_S <= time.monotonic() - began < SHORT_S + SLACK_S
    text = f"cfcat: {target}: no connection after {SHORT_S} s\n  hint: {TIMEOUT_HINT}\n"
    assert result == Result(b"", text, 28)


@contextmanager
def two_blackholes() -> Iterator[int]:
    """One port on which neither ::1 nor 127.0.0.1 answers."""
    with blackhole("::1") as port, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen(0)
        with socket.create_connection(("127.0.0.1", port)):
            yield port


def test_row_08_no_address_answers() -> None:
    """The deadline is one for all of them, not one for each."""
    with two_blackholes() as port:
        check_connect_timeout(f"many.test:{port}", resolving("::1", "127.0.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_row_09_accept_queue_is_full(host: str) -> None:
    """The SYN stays unanswered."""
    with blackhole(host) as port:
        check_connect_timeout(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("EADDRNOTAVAIL", "no local address and port left to connect from"),
        ("EACCES", "permission denied"),
        ("EPERM", "operation not permitted"),
    ],
)
def test_row_10_system_forbids_to_connect(code: str, text: str) -> None:
    """Ephemeral ports used up, or a firewall of this machine: 7, and clear text."""
    result = cfcat("127.0.0.1:1", stdin=b"data", by=injecting(f"connect:error={code}"))
    assert check_message(result, 7, f"127.0.0.1:1: {text}") == ""
