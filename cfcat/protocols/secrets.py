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
# A response to a challenge comes in one line; of what a peer sends no more is kept to find one.
MAX_LINE_BYTES = 1024


class _Verb(NamedTuple):
    """Lines that carry a secret: group 1 of `pattern` may be shown, what follows it not."""

    protocol: str
    pattern: re.Pattern[bytes]


# A pattern that may match in the middle of a line comes last: what is shown of a line should be little.
VERBS = sorted(
    (_Verb(row.name, re.compile(secret, re.IGNORECASE | re.DOTALL)) for row in TABLE for secret in row.secrets),
    key=lambda verb: verb.pattern.pattern.startswith(b"(.*"),
)
# An exchange begins: lines without a verb follow. A user name and a password, or one response.
EXCHANGE = re.compile(
    rb"(?:AUTH|\S+\s+AUTHENTICATE|AUTHENTICATE|AUTHINFO\s+SASL)\s+\"?([\w-]+)\"?(?:\s+(\S+))?\s*$", re.IGNORECASE
)
WITH_EXCHANGES = frozenset(row.name for row in TABLE if row.has_exchanges)
# A literal goes on in the next line (IMAP, ManageSieve).
LITERAL = re.compile(rb"\{\d+\+?\}$")
CHALLENGE = {row.name: row.challenge for row in TABLE if row.challenge}
# The exchange is over, well or not.
VERDICT = re.compile(rb"235[ -]|2[08][1-9][ -]|[45]\d\d[ -]|\+OK|-ERR|(?!\* )\S+ (?:OK|NO|BAD)\b|(?:OK|NO|BYE)\b")
NO_ANSWER = frozenset({b"*", b"DONE"})  # the challenge is refused; IDLE ends
RESP_ARRAY = re.compile(rb"\*(\d{1,6})$")
RESP_LENGTH = re.compile(rb"\$\d+$")


class SecretGuard:
    """Tells of each line that is sent whether it carries a secret.

    `protocol`: a name of `--proto`; None: unknown, then the rules of every protocol together. `typed`: the lines are
    typed by a person, who marks one as private with a blank before it, as in a shell.
    """

    def __init__(self, protocol: str | None, *, typed: bool = False) -> None:
        self._protocol = protocol
        self._typed = typed
        verbs = (verb.pattern for verb in VERBS if protocol in (None, verb.protocol))
        self._verbs = list(dict.fromkeys(verbs))  # some protocols share one
        self._exchanges = protocol is None or protocol in WITH_EXCHANGES
        patterns = CHALLENGE.values() if protocol is None else filter(None, [CHALLENGE.get(protocol)])
        self._challenge = re.compile(b"|".join(patterns) or rb"(?!)")
        self._challenged = False
        self._responses = 0  # lines without a verb that are still to come
        self._resp_left = 0  # elements of a redis array that are still to come
        self._resp_secret = False
        self._heard = b""

    def received(self, data: bytes) -> None:
        """Take what the peer sent, in any pieces: challenges, and the ends of exchanges."""
        if self._challenge.pattern == rb"(?!)":
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        self._heard = self._heard[:MAX_LINE_BYTES]
        for line in lines:
            line = line[:MAX_LINE_BYTES].rstrip(b"\r")
            if self._challenge.match(line):
                self._challenged = True
            elif VERDICT.match(line):
                self._challenged = False
                self._responses = 0

    def is_secret(self, line: bytes) -> bool:
        """Does it carry a secret? To be asked once for each line that is sent, in order, without its line end."""
        secret = self.would_be_secret(line)
        self._advance(line, secret)
        return secret

    def would_be_secret(self, line: bytes) -> bool:
        """As `is_secret`, of a line that is not complete; it may be asked any number of times."""
        if self._typed and line[:1] in (b" ", b"\t"):
            return True
        if any(pattern.match(line) for pattern in self._verbs):
            return True
        if self._resp_secret and self._resp_left and not RESP_LENGTH.match(line):
            return True
        return bool(line) and (self._challenged or self._responses > 0) and line.upper() not in NO_ANSWER

    @staticmethod
    def mask(line: bytes) -> bytes:
        """A line that is secret, as it may be shown: its verb, and stars."""
        kept = next((match[1] for verb in VERBS if (match := verb.pattern.match(line))), b"")
        return kept + MASK

    def _advance(self, line: bytes, secret: bool) -> None:
        """What this line means for those that follow."""
        self._challenged = False
        self._responses = max(0, self._responses - 1)
        if self._exchanges:
            if (begun := EXCHANGE.match(line)) is not None:
                lines = 2 if begun[1].upper() == b"LOGIN" else 1
                self._responses = lines - (begun[2] is not None)
            elif secret and LITERAL.search(line):
                self._responses = max(self._responses, 1)
        if self._protocol in (None, "redis"):
            self._advance_array(line)

    def _advance_array(self, line: bytes) -> None:
        """Redis: `*2 $4 AUTH $6 secret`, each a line; the rest of the array after AUTH is the secret."""
        if (array := RESP_ARRAY.match(line)) is not None:
            self._resp_left = int(array[1])
            self._resp_secret = False
        elif self._resp_left and not RESP_LENGTH.match(line):
            self._resp_left -= 1
            self._resp_secret = self._resp_secret or line.upper() == b"AUTH"
