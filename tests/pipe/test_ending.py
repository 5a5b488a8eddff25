"""The table of held ends, and how an HTTP request is told from other beginnings."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.pipe.ending import LINE_BYTES, TRANSFER_BYTES, UNTIL_S, Opening, Sent, least_s, sent_what, silence_s

TRIP_S = 0.1
REQUEST = b"GET /big HTTP/1.0\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "unanswered_s", "answered_s"),
    [
        (Sent.HTTP, math.inf, 1.0),
        (Sent.TLS, 1.0, 1.0),
        (Sent.PROXIED, 1.0, 1.0),
        (Sent.TRANSFER, 0.0, 0.25 + 4 * TRIP_S),
        (Sent.REQUEST, 0.5 + 4 * TRIP_S, 0.25 + 4 * TRIP_S),
    ],
)
def test_how_long_the_peer_must_be_silent(sent: Sent, unanswered_s: float, answered_s: float) -> None:
    """Row by row; round trips count in clear text alone."""
    assert silence_s(sent, has_answer=False, round_trip_s=TRIP_S) == pytest.approx(unanswered_s)
    assert silence_s(sent, has_answer=True, round_trip_s=TRIP_S) == pytest.approx(answered_s)


@pytest.mark.parametrize("sent_bytes", [0, TRANSFER_BYTES, TRANSFER_BYTES + 1])
def test_what_was_sent(sent_bytes: int) -> None:
    """HTTP is HTTP, of any size and any way; then TLS is TLS, and a proxy a proxy; else the size decides."""
    clear = Sent.TRANSFER if sent_bytes > TRANSFER_BYTES else Sent.REQUEST
    for proxied in (False, True):
        what = partial(sent_what, is_proxied=proxied, sent_bytes=sent_bytes)
        assert what(is_http=False, is_secure=False) is (Sent.PROXIED if proxied else clear)
        assert what(is_http=False, is_secure=True) is Sent.TLS
        for secure in (False, True):
            assert what(is_http=True, is_secure=secure) is Sent.HTTP


def test_a_transfer_is_more_than_16_mib() -> None:
    """The size that the manual names."""
    assert TRANSFER_BYTES == 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("receives_on", "sent_bytes", "until", "seconds"),
    [
        (True, 0, False, math.inf),
        (True, 0, True, math.inf),
        (True, 1, False, 0.0),
        (True, 1, True, UNTIL_S),
        (False, 0, False, 0.0),
        (False, 1, False, 0.0),
        (False, 0, True, UNTIL_S),
    ],
)
def test_what_a_pipe_waits_for_at_least(receives_on: bool, sent_bytes: int, until: bool, seconds: float) -> None:
    """A listener that says nothing receives to the client's end; what `--until` is for may come late."""
    assert least_s(receives_on=receives_on, sent_bytes=sent_bytes, until=until) == seconds


@pytest.mark.parametrize(
    "data",
    [
        REQUEST,
        b"GET / HTTP/1.1",
        b"POST http://h/x?y=%20 HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"M-SEARCH * HTTP/1.1\r\n",
        b"CONNECT h:443 HTTP/1.1\r\n",
        b"GET /" + b"x" * (LINE_BYTES - len(b"GET / HTTP/1.")) + b" HTTP/1.1\r\n",
    ],
    ids=lambda data: data[:30].decode(),
)
def test_http_requests(data: bytes) -> None:
    """Known as soon as the version has begun; not before."""
    opening = Opening()
    opening.feed(data)
    assert opening.is_http is True
    opening = Opening()
    opening.feed(data[: data.index(b"HTTP/1") + len(b"HTTP/1")])
    assert opening.is_http is None


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"\0\x01\x02",
        b"GET /\r\n",  # HTTP/0.9: its answer has no beginning that could be told
        b"GET  / HTTP/1.0\r\n",
        b"GET /a b HTTP/1.0\r\n",
        b"EHLO me.example\r\nQUIT\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS rtsp://h/ RTSP/1.0\r\n",
        b"\r\nGET / HTTP/1.0\r\n",
        b"x" * 33,
        b"GET /" + b"x" * LINE_BYTES,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_is_no_http_request(data: bytes) -> None:
    """Told as soon as it cannot become one any more."""
    opening = Opening()
    opening.feed(data)
    assert opening.is_http is False


@pytest.mark.parametrize("data", [b"", b"G", b"x" * 32, b"GET ", b"GET /x", b"GET /x ", b"GET /x HTTP/"])
def test_not_known_yet(data: bytes) -> None:
    """Of what may still become a request nothing is said."""
    opening = Opening()
    opening.feed(data)
    assert opening.is_http is None


@given(st.lists(st.integers(0, len(REQUEST)), max_size=5))
def test_a_request_may_come_in_pieces(cuts: list[int]) -> None:
    """However it is cut, as bytes or as a view of a buffer that is used again."""
    opening = Opening()
    buffer = bytearray(len(REQUEST))
    borders = [0, *sorted(cuts), len(REQUEST)]
    for begin, end in pairwise(borders):
        buffer[: end - begin] = REQUEST[begin:end]
        opening.feed(memoryview(buffer)[: end - begin])
    assert opening.is_http is True


@given(st.binary(max_size=200), st.integers(0, 200))
def test_pieces_do_not_matter(data: bytes, cut: int) -> None:
    """Whatever is sent, in one piece or in two."""
    whole, parts = Opening(), Opening()
    whole.feed(data)
    parts.feed(data[:cut])
    parts.feed(data[cut:])
    assert whole.is_http is parts.is_http
