"""CONNECT, as RFC 9110 has it and as proxies answer it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.proxies.dialog import Refusal
from cfcat.proxies.http import MAX_HEADER_BYTES, tunnel
from tests.proxies.play import at, play

pytestmark = pytest.mark.one_python

NAME = at("mail.example:25")
GRANTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "authority"),
    [
        ("mail.example:25", b"mail.example:25"),
        ("192.0.2.7:25", b"192.0.2.7:25"),
        ("[2001:db8::7]:25", b"[2001:db8::7]:25"),
    ],
)
def test_the_request(target: str, authority: bytes) -> None:
    """An IPv6 address is in brackets; the name is the proxy's to resolve."""
    said = play(tunnel(at(target)), GRANTED).said
    assert said == b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n"


def test_credentials_are_basic_and_sent_at_once() -> None:
    """RFC 7617, in UTF-8, or as the bytes that were percent-encoded."""
    assert b"\r\nProxy-Authorization: Basic dXM6cMOk\r\n" in play(tunnel(NAME, "us", "pä"), GRANTED).said
    assert b"\r\nProxy-Authorization: Basic dXM6cP8=\r\n" in play(tunnel(NAME, "us", "p\udcff"), GRANTED).said


@pytest.mark.parametrize(
    "answer",
    [
        GRANTED,
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",  # they mean nothing
        b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + GRANTED,
    ],
)
def test_what_is_behind_the_answer_is_not_touched(answer: bytes) -> None:
    """Whatever it looks like; answers with 1xx come before the one that counts."""
    played = play(tunnel(NAME), answer + b"HTTP/1.1 500 is data\r\n\r\n")
    assert (played.bound, played.rest) == ("", b"HTTP/1.1 500 is data\r\n\r\n")


@pytest.mark.parametrize(
    ("user", "answer", "text", "kind"),
    [
        (None, b"HTTP/1.1 407 x\r\n\r\n", "it wants a user name and a password (status 407)", "credentials"),
        ("us", b"HTTP/1.0 401 x\r\n\r\n", "it refused the user name and the password (status 401)", "credentials"),
        ("us", b"HTTP/1.1 407 x\r\n\r\n", "it refused the user name and the password (status 407)", "credentials"),
        (
            None,
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=x\r\nproxy-authenticate:Basic realm=x\r\n\r\n",
            "it wants a user name and a password (status 407)",
            "credentials",
        ),
        (
            None,
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=x, basic realm=y\r\n\r\n",
            "it wants a user name and a password (status 407)",
            "credentials",
        ),
        (
            "us",
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n",
            "it wants authentication by Negotiate, NTLM, and Basic alone is spoken here",
            "other",
        ),
        (None, b"HTTP/1.1 403 Forbidden\r\n\r\n", "it refused to connect to mail.example:25 (status 403)", "other"),
        (None, b"HTTP/1.1 302 Found\r\n\r\n", "it refused to connect to mail.example:25 (status 302)", "other"),
        (None, b"HTTP/1.1 500 x\r\n\r\n", "it could not reach mail.example:25 (status 500)", "target"),
        (None, b"HTTP/1.1 502 x\r\n\r\n", "it could not reach mail.example:25 (status 502)", "target"),
        (None, b"HTTP/1.1 504 x\r\n\r\n", "it could not reach mail.example:25 (status 504)", "target"),
    ],
)
def test_refusals(user: str | None, answer: bytes, text: str, kind: str) -> None:
    """What it wants or what is wrong, in words; its own are kept to be quoted."""
    with pytest.raises(Refusal) as caught:
        play(tunnel(NAME, user, "secret"), answer)
    assert (caught.value.text, caught.value.kind) == (text, kind)
    assert caught.value.said == answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0",
        b"\x05\xff",
        b"\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 600 x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_nonsense(answer: bytes) -> None:
    """Another protocol is found out at its first byte, without waiting for the end of a line."""
    with pytest.raises(Refusal, match="its answer is not that of an HTTP proxy") as caught:
        play(tunnel(NAME), answer)
    assert caught.value.kind == "nonsense"
    assert caught.value.said


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 " + bytes(MAX_HEADER_BYTES),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEADER_BYTES,
        b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_HEADER_BYTES,
    ],
    ids=["a line", "a header", "headers"],
)
def test_without_an_end(answer: bytes) -> None:
    """All headers together are bounded."""
    with pytest.raises(Refusal, match="its answer has no end within 64 KiB"):
        play(tunnel(NAME), answer)


@given(st.binary(max_size=60), st.booleans())
def test_any_answer_is_an_end_or_a_refusal(answer: bytes, begun: bool) -> None:
    """Or waits for more; nothing else is raised."""
    with suppress(Refusal):
        play(tunnel(NAME), (b"HTTP/1.1 407 x\r\nProxy-Authenticate:" if begun else b"") + answer)
