"""Which lines carry secrets: they are kept out of the history, and masked in transcripts.

Pure. It knows the verbs of the protocols that are spoken by hand, and the exchanges in which the secret is a line of
its own: what follows `AUTH LOGIN`, or answers a challenge. When in doubt a line is a secret: a masked line is a small
loss. The patterns are in the table's rows.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cfcat.protocols.table import TABLE

__all__ = ["MASK", "SecretGuard"]

MASK = b"****"
# A response to a challenge comes in one line; keep at most this much of the peer's data when looking for a challenge.
MAX_LINE_BYTES = 1024
# The verb of a redis command in an array is looked for in this many words, and this much of each.
MAX_WORDS, MAX_WORD_BYTES = 64, 64


class _Verb(NamedTuple):
    """Lines that carry a secret: group 1 of `pattern` may be shown, what follows it not."""

    protocol: str
    pattern: re.Pattern[bytes]


# A pattern that may match in the middle of a line comes last: what is shown of a line should be little.
VERBS = sorted(
    (_Verb(row.name, re.compile(secret, re.IGNORECASE | re.DOTALL)) for row in TABLE for secret in row.secrets),
    key=lambda verb: verb.pattern.pattern.startswith(b"(.*"),
)
# What may stand before a verb, and says nothing: blanks, and the commands of telnet that FTP and others send.
LEADING = re.compile(rb"(?:[ \t]|\xff[\xf0-\xfa]|\xff[\xfb-\xfe].)*", re.DOTALL)
# A prompt without a line end: what is typed then is a secret. So it is after telnet's WILL ECHO (RFC 857): from here on
# the server echoes, or does not.
PROMPT = re.compile(
    rb"\b(?:pass(?:word|phrase|code)|passwor[td]|kennwort|mot de passe|contrase.{1,2}a|pin|otp|token|secret)\b"
    rb"[^:\n]{0,60}:[ \t]*$",
    re.IGNORECASE,
)
WILL_ECHO = b"\xff\xfb\x01"
# Where a header or an element has begun whose value comes in the next line.
FOLDED = re.compile(rb"(?:Proxy-)?Authorization:|X-Api-Key:|X-Auth-Token:|Cookie:", re.IGNORECASE)
OPEN_ELEMENT = re.compile(rb".*<(?:[\w.-]+:)?(?:auth|response|password|initial-response)\b[^<>]*>\s*$", re.IGNORECASE)
# An exchange begins: lines without a verb follow. A user name and a password, or one response.
EXCHANGE = re.compile(
    rb"(?:AUTH|\S+\s+AUTHENTICATE|AUTHENTICATE|AUTHINFO\s+SASL)\s+\"?([\w-]+)\"?(?:\s+(\S+))?\s*$", re.IGNORECASE
)
# FTP's request for TLS (RFC 4217 §2), which has the verb of secrets in other protocols.
ASKS_FOR_TLS = re.compile(rb"AUTH\s+(?:TLS|TLS-C|SSL)\s*$", re.IGNORECASE)
WITH_EXCHANGES = frozenset(row.name for row in TABLE if row.has_exchanges)
# A literal begins with the next line, and may hold line ends (IMAP, ManageSieve).
LITERAL = re.compile(rb"\{(\d{1,9})(\+?)\}$")
WITH_LITERALS = frozenset({None, "imap", "sieve"})
CHALLENGE = {row.name: row.challenge for row in TABLE if row.challenge}
# The exchange is over, well or not.
VERDICT = re.compile(rb"235[ -]|2[08][1-9][ -]|[45]\d\d[ -]|\+OK|-ERR|(?!\* )\S+ (?:OK|NO|BAD)\b|(?:OK|NO|BYE)\b")
NO_ANSWER = frozenset({b"*", b"DONE"})  # the challenge is refused; IDLE ends
RESP_ARRAY = re.compile(rb"\*(\d{1,6})$")
RESP_LENGTH = re.compile(rb"\$(\d{1,9})$")


class SecretGuard:
    """Tells of each line that is sent whether it carries a secret.

    `protocol`: a name of `--proto`; None: unknown, then the rules of every protocol together.
    """

    def __init__(self, protocol: str | None) -> None:
        self._protocol = protocol
        verbs = (verb.pattern.pattern for verb in VERBS if protocol in (None, verb.protocol))
        # All in one, since each line of a long upload is asked about; some protocols share a pattern.
        either = b"|".join(b"(?:%b)" % pattern for pattern in dict.fromkeys(verbs))
        self._verbs = re.compile(either or rb"(?!)", re.IGNORECASE | re.DOTALL)
        self._exchanges = protocol is None or protocol in WITH_EXCHANGES
        patterns = CHALLENGE.values() if protocol is None else filter(None, [CHALLENGE.get(protocol)])
        self._challenge = re.compile(b"|".join(patterns) or rb"(?!)")
        self._challenged = False
        self._responses = 0  # lines without a verb that are still to come
        self._is_echoed = False  # by the server from now on, it has said, or not at all
        self._is_folded = False  # the value of a secret header may go on
        self._resp_left = 0  # elements of a redis array that are still to come
        self._resp_words: list[bytes] = []  # those that have come
        self._resp_word = b""  # the beginning of the one that has begun
        self._resp_bytes = 0  # of it, its line end included, that are still to come
        self._literal_bytes = 0  # of a literal that is secret, that are still to come
        self._waits_for_literal = False  # is the peer asked whether it wants one, and has it none of it yet?
        self._heard = b""

    def received(self, data: bytes) -> None:
        """Take what the peer sent, in any pieces: challenges, and the ends of exchanges."""
        if WILL_ECHO in self._heard[-2:] + data:
            self._is_echoed = True
        *lines, self._heard = (self._heard + data).split(b"\n")
        self._heard = self._heard[-MAX_LINE_BYTES:]
        for line in lines:
            line = line[:MAX_LINE_BYTES].rstrip(b"\r")
            if self._challenge.pattern != rb"(?!)" and self._challenge.match(line):
                self._challenged = True
            elif VERDICT.match(line):
                self._challenged = False
                self._responses = 0
                if self._waits_for_literal:
                    self._literal_bytes = 0  # the peer does not want it

    def is_secret(self, line: bytes, size: int | None = None) -> bool:
        """Does it carry a secret? To be asked once for each line that is sent, in order, without its line end.

        `size`: its bytes on the wire, the line end included; None: two more than the line.
        """
        secret = self.would_be_secret(line) and not (self._protocol is None and ASKS_FOR_TLS.match(line))
        self._advance(line, secret, len(line) + 2 if size is None else size)
        return secret

    def would_be_secret(self, line: bytes) -> bool:
        """As `is_secret`, of a line that is not complete; it may be asked any number of times."""
        if self._literal_bytes or self._has_verb(line) or (self._is_folded and line[:1] in (b" ", b"\t")):
            return True
        is_word = self._resp_bytes or (self._resp_left and not RESP_LENGTH.match(line))
        if is_word and self._has_verb(b" ".join([*self._resp_words, self._resp_word + line])):
            return True
        if not line or line.upper() in NO_ANSWER:
            return False
        return self.is_asked or self._responses > 0

    @property
    def is_asked(self) -> bool:
        """Does the peer wait for a secret: has it challenged, or shown a prompt for a password?"""
        return self._challenged or self.hides_input

    @property
    def hides_input(self) -> bool:
        """Would the peer's own terminal not show what is typed now (SEC-R29)?"""
        return self._is_echoed or PROMPT.search(self._heard) is not None

    def _has_verb(self, line: bytes) -> bool:
        line = line[LEADING.match(line).end() :]  # type: ignore[union-attr]  # it matches everywhere
        return self._verbs.match(line) is not None

    @staticmethod
    def mask(line: bytes) -> bytes:
        """A line that is secret, as it may be shown: its verb, and stars."""
        begin = LEADING.match(line).end()  # type: ignore[union-attr]  # as above
        kept = next((match[1] for verb in VERBS if (match := verb.pattern.match(line, begin))), b"")
        return kept + MASK

    def _advance(self, line: bytes, secret: bool, size: int) -> None:
        """What this line means for those that follow."""
        self._challenged = self._is_echoed = False
        self._heard = b""  # a prompt has had its answer
        self._responses = max(0, self._responses - 1)
        self._is_folded = FOLDED.match(line) is not None or (self._is_folded and line[:1] in (b" ", b"\t"))
        self._literal_bytes = max(0, self._literal_bytes - size)
        self._waits_for_literal = False
        if OPEN_ELEMENT.match(line):
            self._responses = 1
        if self._exchanges and not ASKS_FOR_TLS.match(line) and (begun := EXCHANGE.match(line)) is not None:
            lines = 2 if begun[1].upper() == b"LOGIN" else 1
            has_response = begun[2] is not None and LITERAL.match(begun[2]) is None
            self._responses = lines - has_response
        if self._protocol in WITH_LITERALS and (secret or self._responses) and (literal := LITERAL.search(line)):
            self._literal_bytes, self._waits_for_literal = int(literal[1]), not literal[2]
        if self._protocol in (None, "redis"):
            self._advance_array(line, size)

    def _advance_array(self, line: bytes, size: int) -> None:
        """Redis: `*2 $4 AUTH $6 secret`, each a line: together they are the command as it is typed."""
        if not self._resp_bytes and (array := RESP_ARRAY.match(line)) is not None:
            self._resp_left, self._resp_words = int(array[1]), []
        elif not self._resp_bytes and self._resp_left and (length := RESP_LENGTH.match(line)) is not None:
            self._resp_bytes = int(length[1]) + 2
        elif self._resp_left:
            self._resp_bytes = max(0, self._resp_bytes - size)
            self._resp_word = (self._resp_word + line)[:MAX_WORD_BYTES] + b" "
            if not self._resp_bytes:
                self._resp_left -= 1
                self._resp_words = [*self._resp_words, self._resp_word[:-1]][:MAX_WORDS]
                self._resp_word = b""
