"""`ReplyReader`: each protocol's whole replies, in every segmentation."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.protocols.replies import MEMORY_BYTES, Reply, ReplyReader

pytestmark = pytest.mark.one_python


class Talk(NamedTuple):
    """What was sent before anything of `replies` was looked for; each of these is a whole reply."""

    name: str
    protocol: str | None
    sent: bytes
    replies: tuple[bytes, ...]
    greets: bool = True


MAIL = b"+OK 20 octets\r\nSubject: x\r\n\r\n..\r\n-ERR no\r\n.\r\n"
FETCH = b'* 1 FETCH (BODY[] {20}\r\na2 OK it is a trick\r\n FLAGS ())\r\n* LIST () "/" {3}\r\n{5}\r\na2 OK done {7}\r\n'

TALKS = (
    Talk("smtp", "smtp", b"EHLO x\r\n", (b"220 a\r\n", b"250-a\r\n250-SIZE\r\n250 HELP\r\n", b"250\r\n", b"500 no\n")),
    Talk("smtp greeting", "smtp", b"", (b"220-a\r\n220-b\r\n220 c\r\n",)),
    Talk("lmtp", "lmtp", b"", (b"250 2.1.5 one\r\n", b"550 5.1.1 two\r\n")),
    Talk("smtp nonsense", "smtp", b"", (b"hello\r\n", b"220 a\r\n", b"250-a\r\nwhat\r\n")),
    Talk("ftp", "ftp", b"", (b"220-a\r\n 220 b\r\n230 c\r\n2200\r\n220-d\r\n220 e\r\n", b"150 x\r\n", b"226 y\r\n")),
    Talk("pop3", "pop3", b"CAPA\r\nRETR 1\r\n", (b"+OK hi\r\n", b"+OK\r\nUSER\r\n.\r\n", MAIL, b"+OK bye\r\n")),
    Talk("pop3 refused", "pop3", b"RETR 9\r\nQUIT\r\n", (b"+OK hi\r\n", b"-ERR no\r\n", b"+OK bye\r\n")),
    Talk(
        "pop3 lists",
        "pop3",
        b"LIST 1\r\nLIST\r\nuidl\r\nAUTH PLAIN\r\nAHgAeQ==\r\nSTAT\r\n",
        (
            b"+OK hi\r\n",
            b"+OK 1 20\r\n",
            b"+OK 1\r\n1 20\r\n.\r\n",
            b"+OK\r\n.\r\n",
            b"+ \r\n",
            b"+OK\r\n",
            b"+OK 1 1\r\n",
        ),
    ),
    Talk("pop3 after STLS", "pop3", b"LIST\r\n", (b"+OK\r\n1 20\r\n.\r\n",), greets=False),
    Talk(
        "nntp",
        "nntp",
        b"GROUP a\r\nLISTGROUP a\r\nARTICLE 1\r\nSTAT 1\r\n",
        (b"200 hi\r\n", b"211 1 1 1 a\r\n", b"211 1 1 1 a\r\n1\r\n.\r\n", b"220 1 <a>\r\nx\r\n.\r\n", b"223 1\r\n"),
    ),
    Talk(
        "nntp posts",
        "nntp",
        b"POST\r\nSubject: LISTGROUP\r\n\r\nLISTGROUP\r\n.\r\nGROUP a\r\nTAKETHIS <b>\r\nLISTGROUP\r\n.\r\nGROUP a\r\n",
        (b"200 hi\r\n", b"340 go\r\n", b"240 ok\r\n", b"211 1 1 1 a\r\n", b"239 <b>\r\n", b"211 1 1 1 a\r\n"),
    ),
    Talk("imap greeting", "imap", b"", (b"* OK [CAPABILITY {5}] ready {5}\r\n", b"* BYE\r\n")),
    Talk("imap", "imap", b"a1 NOOP\r\na2 UID FETCH 1 BODY[]\r\n", (b"* OK hi\r\na1 OK done\r\n" + FETCH,)),
    Talk("imap append", "imap", b"a1 APPEND INBOX {8}\r\n", (b"* OK hi\r\n+ go\r\n",)),
    Talk(
        "imap literal", "imap", b"a1 APPEND INBOX {9}\r\nb2 NOOP\r\n\r\n", (b"+ go\r\n", b"b2 BAD x\r\na1 OK done\r\n")
    ),
    Talk("imap literal+", "imap", b"a1 LOGIN {4+}\r\nb2 x {4+}\r\nc3 y\r\n", (b"b2 OK\r\nc3 OK\r\na1 NO no\r\n",)),
    Talk("imap authenticate", "imap", b"a1 AUTHENTICATE PLAIN\r\n", (b"+ \r\n",)),
    Talk("imap idle", "imap", b"a1 IDLE\r\nDONE\r\n", (b"+ idling\r\n", b"* 1 EXISTS\r\n\r\na1 OK done\r\n")),
    Talk("sieve", "sieve", b"", (b'"IMPLEMENTATION" "OK"\r\n"SIEVE" "x"\r\nOK "ready"\r\n', b"NO {4}\r\nOK\r\n\r\n")),
    Talk("sieve script", "sieve", b'GETSCRIPT "a"\r\n', (b"{8}\r\nkeep;OK\n\r\nOK\r\n", b'BYE "x"\r\n')),
    Talk("sieve challenge", "sieve", b'AUTHENTICATE "X"\r\n', (b'"cj1h"\r\n', b"{4}\r\ncj1h\r\n", b"OK\r\n")),
    Talk(
        "redis",
        "redis",
        b"",
        (
            *(b"+OK\r\n", b"-ERR no\r\n", b":12\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$8\r\na\r\n+OK\r\n\r\n", b"*0\r\n"),
            b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*-1\r\n$-1\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n~2\r\n,1.5\r\n#t\r\n",
            b"|1\r\n+ttl\r\n:3600\r\n>2\r\n+message\r\n=8\r\ntxt:a\r\nb\r\n",
            *(b"_\r\n", b"(123\r\n", b"!3\r\nERR\r\n", b"what\r\n"),
        ),
    ),
    Talk("unknown", None, b"", (b"one\r\n", b"\r\n", b"two\n")),
    Talk("unknown behind TLS", None, b"", (b"250-a\r\n", b"250 b\r\n"), greets=False),
    Talk("greets as smtp", None, b"EHLO x\r\n", (b"220 a ESMTP\r\n", b"250-a\r\n250 HELP\r\n")),
    Talk("greets as lmtp", None, b"", (b"220-a LMTP\r\n220 b\r\n", b"250-a\r\n250 HELP\r\n")),
    Talk("greets with a code", None, b"", (b"220-a\r\nb\r\n220 c\r\n", b"211-x\r\n y\r\n211 z\r\n")),
    Talk("greets as nntp", None, b"LISTGROUP a\r\n", (b"201 a\r\n", b"211 1 1 1 a\r\n1\r\n.\r\n")),
    Talk("greets as pop3", None, b"RETR 1\r\n", (b"+OK a\r\n", MAIL)),
    Talk("greets as imap", None, b"a1 FETCH\r\na2 FETCH\r\n", (b"* OK hi\r\na1 OK\r\n" + FETCH,)),
    Talk("greets as imap, alone", None, b"", (b"* OK hi\r\n",)),
    Talk("greets as sieve", None, b"", (b'"IMPLEMENTATION" "x"\r\nOK "ready"\r\n', b"NO {4}\r\nOK\r\n\r\n")),
    Talk("without replies", "http", b"", (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n")),
)
EACH = pytest.mark.parametrize("talk", TALKS, ids=[talk.name for talk in TALKS])


def read(talk: Talk, pieces: list[bytes], *, looks: bool) -> list[bytes]:
    """The replies. `looks`: it is asked for the next one behind each piece."""
    reader, found = ReplyReader(talk.protocol, greets=talk.greets), list[bytes]()
    reader.sent(talk.sent)
    for piece in pieces:
        reader.received(piece)
        while looks and (reply := reader.next(0)) is not None:
            found.append(reply.text)
    while (reply := reader.next(0)) is not None:
        found.append(reply.text)
    assert reader.partial == b""
    return found


@EACH
def test_replies_of_each_protocol(talk: Talk) -> None:
    """All at once, and in single bytes."""
    text = b"".join(talk.replies)
    assert read(talk, [text], looks=False) == list(talk.replies)
    assert read(talk, [text[number : number + 1] for number in range(len(text))], looks=True) == list(talk.replies)


@EACH
@given(data=st.data())
def test_replies_in_every_segmentation(talk: Talk, data: st.DataObject) -> None:
    """The pieces mean nothing, nor does when somebody looks."""
    text = b"".join(talk.replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(talk, pieces, looks=data.draw(st.booleans())) == list(talk.replies)


@EACH
@given(data=st.data())
def test_sending_in_every_segmentation(talk: Talk, data: st.DataObject) -> None:
    """So with what is sent."""
    reader = ReplyReader(talk.protocol, greets=talk.greets)
    cut = data.draw(st.integers(0, len(talk.sent)))
    reader.sent(talk.sent[:cut])
    reader.sent(talk.sent[cut:])
    reader.received(b"".join(talk.replies))
    for expected in talk.replies:
        assert (reply := reader.next(0)) is not None
        assert reply.text == expected


@EACH
def test_unfinished_reply_is_none(talk: Talk) -> None:
    """Whatever is missing, it is not told; and how it begins is known."""
    reader, whole = ReplyReader(talk.protocol, greets=talk.greets), b"".join(talk.replies)
    reader.sent(talk.sent)
    reader.received(whole[:-1])
    seen = [reply for _ in talk.replies if (reply := reader.next(0)) is not None]
    assert [reply.text for reply in seen] == list(talk.replies[:-1])
    assert reader.partial == talk.replies[-1][:-1]


def replies_of(protocol: str, sent: bytes, received: bytes, begin: int = 0) -> list[Reply]:
    reader = ReplyReader(protocol)
    reader.sent(sent)
    reader.received(received)
    found = []
    while (reply := reader.next(begin)) is not None:
        found.append(reply)
    return found


def test_judged_is_the_beginning_or_the_last_line() -> None:
    """IMAP and ManageSieve say how it went at the end."""
    (reply,) = replies_of("imap", b"a1 FETCH\r\n", b"* 1 FETCH {2}\r\nab x\r\na1 NO {2}\r\n")
    assert (reply.judged, reply.begin, reply.end) == (b"a1 NO {2}\r\n", 21, 32)
    (reply,) = replies_of("sieve", b"", b'"SIEVE" "x"\r\nNO {4}\r\na\r\nb\r\n')
    assert reply.judged == b"NO {4}\r\na\r\nb\r\n"
    (reply,) = replies_of("smtp", b"", b"250-a\r\n250 b\r\n")
    assert reply.judged == reply.text == b"250-a\r\n250 b\r\n"


def test_reply_that_a_match_has_begun_is_over() -> None:
    """`:expect` has taken its beginning; for IMAP only the last line counts."""
    text = b"220 hello\r\n250-a\r\n250 b\r\n221 bye\r\n"
    assert [reply.text for reply in replies_of("smtp", b"", text, 3)] == [b"250-a\r\n250 b\r\n", b"221 bye\r\n"]
    assert [reply.text for reply in replies_of("smtp", b"", text, 15)] == [b"221 bye\r\n"]
    text = b"* OK hi\r\na1 OK\r\n* 1 EXISTS\r\na2 OK\r\n"
    assert [reply.judged for reply in replies_of("imap", b"a1 NOOP\r\na2 NOOP\r\n", text, 11)] == [b"a2 OK\r\n"]


def test_literal_that_the_server_does_not_want_is_no_literal() -> None:
    """What is sent next is a command."""
    reader = ReplyReader("imap")
    reader.sent(b"a1 APPEND INBOX {100}\r\n")
    reader.received(b"* OK hi\r\na")
    reader.received(b"1 NO too big\r\n")
    reader.sent(b"a2 NOOP\r\n")
    reader.received(b"a2 OK\r\n")
    reply = reader.next(0)
    assert reply is not None
    assert reply.judged == b"a2 OK\r\n"


def test_memory_is_bounded() -> None:
    """A reply without end keeps its beginning; lines that nobody looks at are forgotten, the oldest first."""
    reader = ReplyReader("pop3", greets=False)
    reader.sent(b"RETR 1\r\n")
    reader.received(b"+OK\r\n")
    for _ in range(40):
        reader.received(b"x" * 98 + b"\r\n" * 500 + b"y" * 98_000 + b"\r\n")
        assert len(reader._rest) + len(reader._text) <= 2 * MEMORY_BYTES + 200_000
    reader.received(b".\r\n")
    reply = reader.next(0)
    assert reply is not None
    assert len(reply.text) == MEMORY_BYTES
    assert reply.end > 3 * MEMORY_BYTES
    for protocol in (None, "smtp"):
        reader = ReplyReader(protocol)
        for number in range(40_000):
            reader.received(b"250 %06d %s\r\n" % (number, b"x" * 87))
        assert len(reader._rest) <= MEMORY_BYTES
        first = reader.next(0)
        assert first is not None
        assert first.text.startswith(b"250 0")
        assert first.begin == int(first.text[4:10]) * 100


def test_line_without_end_is_cut() -> None:
    """Nobody waits for ever, and memory is bounded."""
    reader = ReplyReader(None)
    for _ in range(30):
        reader.received(b"x" * 100_000)
        assert len(reader._rest) <= MEMORY_BYTES
    reply = reader.next(0)
    assert reply is None or reply.end > MEMORY_BYTES
