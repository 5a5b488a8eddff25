"""Where a reply of a protocol begins and ends, for `:reply`: whole replies, in order, in any segmentation.

Pure. A grammar is a generator for one reply: it yields what it needs next (LINE, MORE or a number of bytes) and returns
where the reply ends. Some answers do not tell by themselves whether a body follows (POP3, NNTP) or which line is the
last (IMAP); there the grammar asks `Asked`, which keeps what was sent.

| protocol | a reply is | judged at |
|---|---|---|
| SMTP, LMTP, FTP | the lines up to the one with a code and a blank (RFC 5321 §4.2.1, RFC 959 §4.2) | its beginning |
| NNTP | a line with a code, and its body (RFC 3977 §3.1) | its beginning |
| POP3 | a line with a status, and its body (RFC 1939 §3) | its beginning |
| IMAP | the lines up to the tagged one, or a "+" (RFC 9051 §2.2.2); before a command the greeting | its last line |
| ManageSieve | the lines up to OK, NO or BYE (RFC 5804 §1.2), or a challenge of AUTHENTICATE | its last line |
| Redis | one value, with all in it (RESP2, RESP3) | its beginning |
| anything else | one line | its beginning |

Where nobody says which protocol it is, the server's greeting does, if it has one: GREETINGS.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import NamedTuple

__all__ = ["MEMORY_BYTES", "Reply", "ReplyReader"]

# So much is kept of one reply, and of all bytes that nobody has asked for yet.
MEMORY_BYTES = 1024 * 1024
# What a grammar may need: a line with its end, another part of the same line, or as many bytes.
LINE, MORE = -1, -2
Grammar = Generator[int, bytes, None]

# So much is kept of a command that was sent: its verb, and whether it has an argument.
COMMAND_BYTES = 200
MOST_COMMANDS = 100_000
CODE = re.compile(rb"(\d{3})([ -]|\r?\n|\Z)")
IMAP_TEXT = re.compile(rb"\S+ (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)
IMAP_COMMAND = re.compile(rb"([^\s+*(){}%\"\\]+) +[A-Za-z]")
LITERAL = re.compile(rb"\{(\d{1,10})(\+?)\}\r?\n\Z")
SIEVE_STATUS = re.compile(rb"(?:OK|NO|BYE)\b", re.IGNORECASE)
SIEVE_STRING = re.compile(rb'"[^"]*"\r?\n\Z|\{\d+\+?\}\r?\n')
POP3_BODIES = re.compile(rb"(?:RETR|TOP|CAPA)\b|(?:LIST|UIDL|AUTH|LANG)\s*\Z", re.IGNORECASE)
NNTP_BODIES = frozenset({b"100", b"101", b"215", b"220", b"221", b"222", b"224", b"225", b"230", b"231", b"282"})
NNTP_GO_ON = frozenset({b"335", b"340"})  # an article is to follow
RESP_NUMBER = re.compile(rb"[$=!*~>%|](\d{1,10})\r?\n")


class Reply(NamedTuple):
    """A whole reply, or its first MEMORY_BYTES. `judged`: the part that a pattern must match, from its beginning.

    `begin`, `end`: where in the stream the judged part begins, and where the reply ends.
    """

    text: bytes
    judged: bytes
    begin: int
    end: int


class Asked:
    """What was sent, as far as a grammar has to know it: the commands in order, a line each."""

    def __init__(self, *, greets: bool) -> None:
        self._commands: deque[bytes] = deque(maxlen=MOST_COMMANDS)
        self._is_greeting_next = greets
        self._in_article = False
        self._line = b""

    def sent(self, data: bytes) -> None:
        """Take what is sent, in any pieces."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[:COMMAND_BYTES]
        self._commands.extend(line[:COMMAND_BYTES] for line in lines)
        self._skip()

    def received(self, data: bytes) -> None:
        """Take what comes, before it is read as replies."""

    def take(self) -> bytes:
        """The command that the next reply answers; b"" for a greeting, and where nothing was asked."""
        if self._is_greeting_next:
            self._is_greeting_next = False
            return b""
        return self._commands.popleft() if self._commands else b""

    def skip_article(self) -> None:
        """The lines that are sent next are an article, not commands, up to its dot."""
        self._in_article = True
        self._skip()

    def _skip(self) -> None:
        while self._in_article and self._commands:
            self._in_article = self._commands.popleft().rstrip(b"\r") != b"."

    @property
    def tag(self) -> bytes | None:
        """The tag of IMAP's last command; None before the first."""
        return None

    @property
    def last(self) -> bytes:
        """The last command."""
        return self._commands[-1] if self._commands else b""


class AskedImap(Asked):
    """Knows the tag of the last command. Lines inside literals, and answers to a "+", are no commands."""

    _tag: bytes | None = None
    _literal_bytes = 0  # still to come of a literal that has begun
    _waits = False  # the literal waits for the server's "+"
    _goes_on = False  # the next line belongs to the same command
    _heard = b""

    def sent(self, data: bytes) -> None:
        data = self._line + data
        self._line = b""
        while data:
            if self._literal_bytes:
                self._waits = False
                count = min(self._literal_bytes, len(data))
                self._literal_bytes -= count
                data = data[count:]
                continue
            line, end, data = data.partition(b"\n")
            if not end:
                self._line = line
                return
            self._take_line(line + end)

    def _take_line(self, line: bytes) -> None:
        command = None if self._goes_on else IMAP_COMMAND.match(line)
        if command is not None:
            self._tag = command[1]
        literal = LITERAL.search(line)
        self._goes_on = literal is not None
        if literal is not None:
            self._literal_bytes, self._waits = int(literal[1]), not literal[2]

    def received(self, data: bytes) -> None:
        """Look for the tagged answer that refuses a waiting literal: the literal will not come."""
        if not self._waits or self._tag is None:
            return
        heard = self._heard + data
        self._heard = heard[-COMMAND_BYTES:]
        if re.search(rb"^" + re.escape(self._tag) + rb" ", heard, re.MULTILINE):
            self._literal_bytes, self._waits, self._goes_on, self._heard = 0, False, False, b""

    @property
    def tag(self) -> bytes | None:
        return self._tag


# ------------------------------------------------------------------------------------------- the grammars


def _line(asked: Asked) -> Grammar:
    yield LINE


def _codes(asked: Asked) -> Grammar:
    """SMTP: each line has a code. A line without one ends the reply."""
    while (code := CODE.match((yield LINE))) is not None and code[2] == b"-":
        pass


def _ftp(asked: Asked) -> Grammar:
    """FTP: the last line begins with the code of the first; the lines between may be anything."""
    first = CODE.match((yield LINE))
    if first is None or first[2] != b"-":
        return
    while (last := CODE.match((yield LINE))) is None or last[1] != first[1] or last[2] == b"-":
        pass


def _body() -> Grammar:
    """The lines up to a single dot."""
    while (yield LINE).rstrip(b"\r\n") != b".":
        pass


def _pop3(asked: Asked) -> Grammar:
    status = yield LINE
    if POP3_BODIES.match(asked.take()) and status.startswith(b"+OK"):
        yield from _body()


def _nntp(asked: Asked) -> Grammar:
    code = (yield LINE)[:3]
    verb = asked.take().split(None, 1)[:1]
    if code in NNTP_GO_ON or (verb and verb[0].upper() == b"TAKETHIS"):
        asked.skip_article()
    if code in NNTP_BODIES or (code == b"211" and verb and verb[0].upper() == b"LISTGROUP"):
        yield from _body()


def _with_literals(line: bytes) -> Generator[int, bytes, None]:
    """The rest of a line, with its literals: strings whose length stands before them."""
    while (literal := LITERAL.search(line)) is not None:
        yield int(literal[1])
        line = yield MORE


def _imap(asked: Asked) -> Grammar:
    while True:
        line = yield LINE
        if not IMAP_TEXT.match(line):
            yield from _with_literals(line)
        if line.startswith(b"+") or asked.tag in (None, line.split(None, 1)[:1][0] if line.strip() else b""):
            return


def _sieve(asked: Asked) -> Grammar:
    while True:
        line = yield LINE
        yield from _with_literals(line)
        if SIEVE_STATUS.match(line):
            return
        if SIEVE_STRING.match(line) and asked.last.upper().startswith((b"AUTHENTICATE", b'"', b"{")):
            return


def _redis(asked: Asked) -> Grammar:
    left = 1
    while left:
        line = yield LINE
        left -= 1
        number = RESP_NUMBER.match(line)
        if number is None:
            continue  # a simple value, or null
        count = int(number[1])
        if line[:1] in (b"$", b"=", b"!"):
            yield count
            yield MORE
        else:
            left += {b"%": 2 * count, b"|": 2 * count + 1}.get(line[:1], count)


GRAMMARS: Mapping[str, Callable[[Asked], Grammar]] = {
    "smtp": _codes,
    "lmtp": _codes,
    "ftp": _ftp,
    "nntp": _nntp,
    "pop3": _pop3,
    "imap": _imap,
    "sieve": _sieve,
    "redis": _redis,
}
JUDGED_AT_ITS_LAST_LINE = frozenset({"imap", "sieve"})
# How the first line of a server tells its protocol. The grammar of FTP reads the replies of SMTP and LMTP, too.
GREETINGS = (
    (re.compile(rb"\d{3}[ -].*\bE?SMTP\b", re.IGNORECASE), "smtp"),
    (re.compile(rb"\d{3}[ -].*\bLMTP\b", re.IGNORECASE), "lmtp"),
    (re.compile(rb"220[ -]"), "ftp"),
    (re.compile(rb"20[01] "), "nntp"),
    (re.compile(rb"\+OK\b"), "pop3"),
    (re.compile(rb"\* (?:OK|PREAUTH|BYE)\b", re.IGNORECASE), "imap"),
    (re.compile(rb'"IMPLEMENTATION"', re.IGNORECASE), "sieve"),
)


class ReplyReader:
    """The replies of one connection. A `protocol` without a grammar makes each line a reply; None: the greeting tells.

    `place`: where in the stream the first reply begins. `greets`: does that one answer no command? The caller tells all
    that is sent and received, in order. Of replies that nobody asks for, the last MEMORY_BYTES are kept.
    """

    def __init__(self, protocol: str | None, *, place: int = 0, greets: bool = True) -> None:
        self.protocol = protocol  # None: nobody has named it, and no greeting has told it
        self._greets = greets
        self._said = bytearray()  # before the greeting: what it answers is judged by its protocol
        self._awaits_greeting = protocol is None and greets
        self._read_as(protocol)
        self._rest = bytearray()
        self._searched = 0  # so many bytes of the rest have no line end
        self._place = place  # where in the stream the rest begins
        self._reading: Grammar | None = None  # the grammar of a reply that has begun
        self._begin = self._last_begin = place  # where it begins, and its last line
        self._needs = LINE  # what its grammar needs next
        self._text, self._last = bytearray(), bytearray()  # its beginning, and its last line

    def _read_as(self, protocol: str | None) -> None:
        self._grammar = GRAMMARS.get(protocol or "", _line)
        self._by_last_line = protocol in JUDGED_AT_ITS_LAST_LINE
        self._asked = AskedImap(greets=self._greets) if protocol == "imap" else Asked(greets=self._greets)

    @property
    def partial(self) -> bytes:
        """The beginning of a reply that is not whole yet; b"" where none has begun."""
        return bytes((self._text if self._reading is not None else b"") + self._rest[:MEMORY_BYTES])

    def sent(self, data: bytes) -> None:
        """Take what is sent."""
        self._asked.sent(data)
        if self._awaits_greeting:
            self._said += data[: MEMORY_BYTES - len(self._said)]

    def received(self, data: bytes) -> None:
        """Take what has come."""
        self._asked.received(data)
        self._rest += data
        if self._awaits_greeting and (b"\n" in self._rest or len(self._rest) > MEMORY_BYTES):
            self._be_greeted(bytes(self._rest[:COMMAND_BYTES]).split(b"\n")[0])
        if len(self._rest) > MEMORY_BYTES:
            self._make_room()

    def _be_greeted(self, line: bytes) -> None:
        """Read on by the protocol that the first line tells, if it does."""
        self._awaits_greeting = False
        self.protocol = next((protocol for greeting, protocol in GREETINGS if greeting.match(line)), None)
        self._read_as(self.protocol)
        self._asked.sent(bytes(self._said))
        self._said.clear()

    def next(self, begin: int) -> Reply | None:
        """Return the next reply whose judged part begins at `begin` or later; None: it is not whole yet.

        Each reply is returned once.
        """
        while (reply := self._read()) is not None:
            if reply.begin >= begin:
                return reply
        return None

    def _make_room(self) -> None:
        if self._grammar is _line and self._reading is None:
            end = self._rest.find(b"\n", len(self._rest) // 2) + 1
            self._drop(end or len(self._rest))
        while len(self._rest) > MEMORY_BYTES // 2 and self._read() is not None:
            pass

    def _read(self) -> Reply | None:
        """Read on to the end of a reply; None: it is not whole yet."""
        while True:
            if self._reading is None:
                if not self._rest or self._awaits_greeting:
                    return None
                self._reading, self._begin = self._grammar(self._asked), self._place
                self._text, self._last = bytearray(), bytearray()
                self._needs = next(self._reading)
            piece = self._take()
            if piece is None:
                return None
            try:
                self._needs = self._reading.send(piece)
            except StopIteration:
                self._reading = None
                text = bytes(self._text)
                if self._by_last_line:
                    return Reply(text, bytes(self._last), self._last_begin, self._place)
                return Reply(text, text, self._begin, self._place)

    def _take(self) -> bytes | None:
        """Return what the grammar needs; None: it has not come. Of a number of bytes, keep all, and return b""."""
        if self._needs >= 0:
            count = min(self._needs, len(self._rest))
            self._keep(self._drop(count))
            self._needs -= count
            return None if self._needs else b""
        end = self._rest.find(b"\n", self._searched)
        if end < 0 and len(self._rest) < MEMORY_BYTES:
            self._searched = len(self._rest)
            return None
        if self._needs == LINE:
            self._last.clear()
            self._last_begin = self._place
        line = self._drop(len(self._rest) if end < 0 else end + 1)
        self._keep(line)
        return line

    def _drop(self, count: int) -> bytes:
        dropped = bytes(self._rest[:count])
        del self._rest[:count]
        self._place += count
        self._searched = 0
        return dropped

    def _keep(self, piece: bytes) -> None:
        for kept in (self._text, self._last):
            kept += piece[: MEMORY_BYTES - len(kept)]
