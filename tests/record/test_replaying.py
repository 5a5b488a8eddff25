"""Transcripts, read as what is to be said and expected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.errors import TranscriptError
from cfcat.record.replaying import Ended, Recorded, Row, Said, Secured, read_recorded

pytestmark = pytest.mark.one_python

TIME = "2026-11-23T15:04:05.123Z"


def lines(*entries: str) -> list[str]:
    """With the time in front; behind the number of a connection, where there is one."""
    return [
        f"{each.split(' ', 1)[0]} {TIME} {each.split(' ', 1)[1]}\n" if each.startswith("#") else f"{TIME} {each}\n"
        for each in entries
    ]


CLIENTS = lines(
    "* - the client's transcript of h:25",
    "* - connecting to h:25 --tls starttls",
    "* - connected to 127.0.0.1:25",
    r"< - 220 h\r\n",
    r"> - STARTTLS\r\n",
    r"< - 220 go\r\n",
    "* - TLS established: TLSv1.3, X",
    r"> T AUTH PLAIN ****\r\n",
    r"> T QUIT\r\n",
    "* - our side ended",
    r"< T 221 bye\r\n",
    "* - the peer ended",
)


def test_the_clients_transcript() -> None:
    """What each side said, where TLS began, who ended, and in which lines of the file."""
    recorded = read_recorded(CLIENTS)
    assert recorded.by == "client"
    assert recorded.steps == [
        Said("server", bytearray(b"220 h\r\n"), [Row(0, 4)]),
        Said("client", bytearray(b"STARTTLS\r\n"), [Row(0, 5)]),
        Said("server", bytearray(b"220 go\r\n"), [Row(0, 6)]),
        Secured(7),
        Said("client", bytearray(b"AUTH PLAIN ****\r\nQUIT\r\n"), [Row(0, 8), Row(17, 9)], masked=8),
        Ended(10, "client"),
        Said("server", bytearray(b"221 bye\r\n"), [Row(0, 11)]),
        Ended(12, "server"),
    ]
    assert (recorded.masked_line("client"), recorded.masked_line("server")) == (8, 0)
    assert recorded.before(11, 2) == [("client", b"AUTH PLAIN ****\r\n"), ("client", b"QUIT\r\n")]


def test_transcripts_of_old_do_not_say_who_wrote_them() -> None:
    """How the connection began does."""
    old = [CLIENTS[0].replace("the client's ", ""), *CLIENTS[1:]]
    assert read_recorded(old) == read_recorded(CLIENTS)


def test_the_servers_transcript() -> None:
    """What it sent is the server's."""
    recorded = read_recorded(
        lines(
            "* - the server's transcript of 127.0.0.1:2525",
            "* - listening on 127.0.0.1:2525",
            "* - accepted 127.0.0.1:4711 on 127.0.0.1:2525",
            r"> - 220 h\r\n",
            r"< - PASS ****\r\n",
            "* - stdin ended: 7 bytes sent",
            "* - peer ended: 11 bytes received",
        )
    )
    assert recorded.steps == [
        Said("server", bytearray(b"220 h\r\n"), [Row(0, 4)]),
        Said("client", bytearray(b"PASS ****\r\n"), [Row(0, 5)], masked=5),
        Ended(6, "server"),
        Ended(7, "client"),
    ]


TAPPED = lines(
    "* - the tap's transcript of h:443",
    "#1 * - the client is 127.0.0.1:1, on 127.0.0.1:2",
    "#1 * - connecting to h:443 --tls starttls --half-open",
    "#1 * - could not connect: no",
    "#2 * - the client is 127.0.0.1:3, on 127.0.0.1:2",
    "#2 * - connecting to h:443 --tls starttls --half-open",
    "#2 * - connected to 127.0.0.1:443 from 127.0.0.1:9 in 0.1 ms",
    "#3 * - the client is 127.0.0.1:4, on 127.0.0.1:2",
    "#3 * - connecting to h:443 --tls starttls --half-open",
    "#3 * - connected to 127.0.0.1:443 from 127.0.0.1:8 in 0.1 ms",
    "#2 * - TLS established in 1.0 ms: TLSv1.3, X",
    "#2 * - TLS with the client: TLSv1.3, X, for h.example, ALPN h2",
    "#3 > - three",
    "#2 > T two",
    "#2 * - the client ended (close_notify)",
    "#2 * - the client closed TCP behind it (FIN)",
    "#3 * - the server reset the connection: reset",
)


def test_the_taps_transcript() -> None:
    """Of several connections the first that came about, or the one that is asked for; TLS with each side by itself."""
    first = read_recorded(TAPPED)
    assert first == read_recorded(TAPPED, 2)
    assert first.by == "tap"
    assert first.steps == [
        Secured(11, "server"),
        Secured(12, "client", "h.example", "h2"),
        Said("client", bytearray(b"two"), [Row(0, 14)]),
        Ended(15, "client", "close_notify"),
        Ended(16, "client", "fin"),
    ]
    assert first.begins_with_tls("client")
    assert first.tls_with("server") == [Secured(11, "server")]
    assert read_recorded(TAPPED, 3).steps == [
        Said("client", bytearray(b"three"), [Row(0, 13)]),
        Ended(17, "server", "reset"),
    ]


def test_connections_one_after_the_other_are_counted() -> None:
    """A session may have opened several; a log may have been continued."""
    second = [line.replace("220 h", "220 other") for line in CLIENTS]
    assert read_recorded([*CLIENTS, *second]) == read_recorded(CLIENTS)
    found = read_recorded([*CLIENTS, *second], 2).steps[0]
    assert isinstance(found, Said)
    assert found.data == b"220 other\r\n"
    with pytest.raises(TranscriptError, match="no connection 3") as caught:
        read_recorded([*CLIENTS, *second], 3)
    assert caught.value.hint == "it has 2"


def test_a_connection_whose_beginning_is_missing_does_not_count() -> None:
    """`:log` in the middle of one."""
    begun = lines("* - the client's transcript of h:25", r"< - 250 ok\r\n")
    assert read_recorded([*begun, *CLIENTS[1:]]).steps[0] == Said("server", bytearray(b"220 h\r\n"), [Row(0, 5)])
    with pytest.raises(TranscriptError, match="no connection in it, from its beginning on"):
        read_recorded(begun)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "no connection in it"),
        ([*CLIENTS[:4], "hello\n"], "line 5: not an entry"),
        ([*CLIENTS[:4], f"{TIME} > - \\q\n"], "line 5: unknown escape"),
        ([*CLIENTS[:8], f"{TIME} > - clear\n"], "line 9: clear text behind the beginning of TLS"),
        ([*CLIENTS, f"{TIME} < T more\n"], "line 13: the server had ended before"),
        (["#1 " + line for line in CLIENTS[1:3]] + [f"{TIME} > -\n"], "line 3: not an entry"),
        (
            [CLIENTS[0], f"{TIME} * - accepted 127.0.0.1:1 on 127.0.0.1:2\n"],
            "line 2: the client's transcript has a connection that was accepted",
        ),
        ([*CLIENTS[:3], *[f"{TIME} > - {'x' * 65536}\n"] * 257], "line 259: more has moved"),
    ],
)
def test_what_is_wrong_has_the_number_of_its_line(entries: list[str], message: str) -> None:
    """Whoever made it, by accident or on purpose."""
    with pytest.raises(TranscriptError, match=message):
        read_recorded(entries)


@given(st.lists(st.sampled_from([*CLIENTS, *TAPPED, "", "\n", f"{TIME} * - \n", f"{TIME} > T x"]), max_size=30))
def test_any_lines_are_a_connection_or_an_error(entries: list[str]) -> None:
    """In any order: never another exception."""
    try:
        found = read_recorded(entries)
    except TranscriptError:
        return
    assert isinstance(found, Recorded)
    assert all(step.data and step.rows for step in found.steps if isinstance(step, Said))


def test_as_many_turns_as_a_transcript_may_have_take_no_long_time() -> None:
    """Each line is read once."""
    turns = [f"{TIME} {mark} - x\n" for _ in range(25_000) for mark in "><"]
    assert len(read_recorded([*CLIENTS[:3], *turns, *[CLIENTS[-1]] * 10_000]).steps) == 50_001
