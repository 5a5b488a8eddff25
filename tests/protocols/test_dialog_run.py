"""Every dialog, on its good scripts: what is said, in any split, and what may not follow the go-ahead."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.errors import DialogError, InjectionError
from cfcat.protocols import PROTOCOLS, DialogRun, HandshakeWrapper
from tests.protocols.scripts import SCRIPTS, Outcome, Script, feed, outcome, start

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=repr)
# What an attacker would have the program believe after TLS is up (SEC-R1): anything at all, and forged answers.
SURPLUS = (b"X", b"\r\n", b" ", b"\0", b"250 mail.example\r\n250 AUTH PLAIN\r\n", b"\x16\x03\x03\x00\x01\x00")


def finished(script: Script) -> DialogRun:
    conversation = start(script.protocol)
    conversation.feed(script.server)
    assert conversation.done
    return conversation


def test_every_protocol_has_a_script() -> None:
    """The table is the list of dialogs; nothing in it goes untested."""
    assert {script.protocol for script in SCRIPTS} == set(PROTOCOLS)


@each_script
def test_dialog_says_exactly_its_bytes_one_command_at_a_time(script: Script) -> None:
    """Each command waits for the answer to the one before, and nothing follows the last (SEC-R1, SEC-R5)."""
    conversation = start(script.protocol)
    assert conversation.to_send() == script.opening
    for said, we in script.turns:
        for byte in said:
            assert not conversation.done
            assert conversation.to_send() == b""
            conversation.feed(bytes((byte,)))
        assert conversation.to_send() == we
    assert conversation.done
    assert conversation.surplus == 0


@each_script
def test_dialog_works_when_everything_comes_at_once(script: Script) -> None:
    """The same bytes in one piece, before anything was asked, give the same conversation (any split is one)."""
    conversation = finished(script)
    assert conversation.to_send() == script.opening + b"".join(we for _, we in script.turns)
    assert conversation.to_send() == b""


@each_script
def test_wrapper_is_left_by_mssql_alone(script: Script) -> None:
    """Only the handshake of TDS travels in packets of the protocol."""
    assert isinstance(finished(script).wrapper, HandshakeWrapper) is (script.protocol == "mssql")


@each_script
@pytest.mark.parametrize("surplus", SURPLUS)
def test_sec_r1_bytes_behind_the_go_ahead_are_an_injection(script: Script, surplus: bytes) -> None:
    """Bytes in the same piece as the go-ahead: an error that counts them, at once, and nothing more to send."""
    conversation = start(script.protocol)
    conversation.to_send()
    with pytest.raises(InjectionError) as caught:
        conversation.feed(script.server + surplus)
    assert caught.value.count == conversation.surplus == len(surplus)
    assert caught.value.message.startswith(f"{len(surplus)} byte{'' if len(surplus) == 1 else 's'} of plain text after")
    assert conversation.to_send() == b""


@each_script
@pytest.mark.parametrize("surplus", SURPLUS)
def test_sec_r1_bytes_after_the_go_ahead_are_an_injection(script: Script, surplus: bytes) -> None:
    """Bytes in a later piece, one by one: each is counted, and the end of the connection changes nothing."""
    conversation = finished(script)
    for count, byte in enumerate(surplus, start=1):
        with pytest.raises(InjectionError) as caught:
            conversation.feed(bytes((byte,)))
        assert caught.value.count == count
    with pytest.raises(InjectionError) as caught:
        conversation.feed(b"")
    assert caught.value.count == len(surplus)


@each_script
def test_sec_r1_large_surplus_is_counted_and_not_kept(script: Script) -> None:
    """The count is right where the surplus goes over many pieces of any size."""
    conversation = start(script.protocol)
    with pytest.raises(InjectionError) as caught:
        conversation.feed(script.server + bytes(3_000_000))
    assert caught.value.count == 3_000_000
    assert not conversation._buffer


@each_script
def test_end_at_every_byte_is_said(script: Script) -> None:
    """Wherever the server closes before its go-ahead is whole, the dialog fails and says so (SEC-R2)."""
    for length in range(len(script.server)):
        conversation = start(script.protocol)
        if length:
            conversation.feed(script.server[:length])
        assert not conversation.done
        with pytest.raises(
            DialogError, match=r"^the server (closed the connection before its|ended the XMPP)"
        ) as caught:
            conversation.feed(b"")
        assert len(caught.value.said) <= 512


@each_script
def test_end_after_the_go_ahead_is_said(script: Script) -> None:
    """A close in place of the handshake is not waited for."""
    with pytest.raises(DialogError, match="closed the connection after its go-ahead"):
        finished(script).feed(b"")


@each_script
@pytest.mark.parametrize("first", [b"\x15\x03\x01\x00\x02\x02\x0a", b"\x16\x03\x03\x00\x7a\x02\x00"])
def test_tls_from_the_first_byte_is_recognised(script: Script, first: bytes) -> None:
    """Row 89: an alert or a handshake in place of the first answer means that the port speaks TLS by itself."""
    expected = Outcome("dialog", "the server seems to speak TLS from the first byte")
    assert outcome(script.protocol, [first]) == expected
    assert outcome(script.protocol, [first[i : i + 1] for i in range(len(first))]) == expected
    if script.protocol != "mysql":  # there it is the length of a packet
        assert outcome(script.protocol, [first[:1]]) == expected


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 2000), max_size=12)


@settings(max_examples=400, deadline=None)
@given(script=st.sampled_from(SCRIPTS), cuts=CUTS, surplus=st.binary(max_size=8))
def test_any_split_gives_the_same_outcome(script: Script, cuts: list[int], surplus: bytes) -> None:
    """Where TCP cuts the server's bytes means nothing; the count of what is injected does not depend on it."""
    data = script.server + surplus
    whole = outcome(script.protocol, [data])
    assert whole.end == ("injection" if surplus else "done")
    assert whole.surplus == len(surplus)
    assert outcome(script.protocol, pieces(data, cuts)) == whole


@settings(max_examples=500, deadline=None)
@given(
    script=st.sampled_from(SCRIPTS),
    at=st.integers(0, 2000),
    gone=st.integers(0, 6),
    new=st.binary(max_size=6) | st.sampled_from([b"\r\n", b"-", b" ", b"\xff", b"'", b"<a>", b"\0\0\0\0"]),
    cuts=CUTS,
)
def test_any_split_of_a_damaged_dialog_gives_the_same_outcome(
    script: Script, at: int, gone: int, new: bytes, cuts: list[int]
) -> None:
    """Near misses of good dialogs end alike in every split, and never with anything but the dialog's own errors."""
    data = script.server
    at %= len(data)
    data = data[:at] + new + data[at + gone :]
    whole = outcome(script.protocol, [data])
    assert outcome(script.protocol, pieces(data, cuts)) == whole
    assert outcome(script.protocol, [data[i : i + 1] for i in range(len(data))]) == whole


@settings(max_examples=400, deadline=None)
@given(script=st.sampled_from(SCRIPTS), turns=st.integers(0, 5), noise=st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_raise_nothing_but_the_dialogs_errors(script: Script, turns: int, noise: list[bytes]) -> None:
    """At the beginning and after any turn: noise is an error, an injection, or not yet enough."""
    begin = b"".join(said for said, _ in script.turns[:turns])
    joined = b"".join(noise)
    assert outcome(script.protocol, [begin, *noise]) == outcome(script.protocol, [begin + joined])


@settings(max_examples=300, deadline=None)
@given(
    script=st.sampled_from(SCRIPTS),
    secret=st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=20).map(str.encode),
    turns=st.integers(0, 5),
    close=st.booleans(),
)
def test_messages_never_quote_the_server(script: Script, secret: bytes, turns: int, close: bool) -> None:
    """What the server said is in `said`, at most 512 bytes of it, and never in the text (SEC-R2, SEC-R20)."""
    begin = b"".join(said for said, _ in script.turns[: turns % len(script.turns)])
    conversation = start(script.protocol)
    error = feed(conversation, begin + secret + b"\r\n" + secret * 60 + b"\r\n>")
    if close and error is None:
        error = feed(conversation, b"")
    assert secret.decode() not in str(error)
    if isinstance(error, DialogError):
        assert len(error.said) <= 512
        assert str(error).startswith(("the server ", "the server's "))
        assert not str(error).endswith(".")
