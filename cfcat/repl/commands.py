"""The commands of a session: what a line means, and what the arguments of a command mean.

Pure. A line without a colon in front is for the peer; `::x` sends `:x`; everything else is a command, or a mistake, of
which nothing is sent. Names are never guessed: a mistyped one is answered with the nearest.

To add a command, give it a row here and in `actions` a function of its name: parser, `:help` and completion take the
row, the session the function.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from cfcat.errors import CommandError
from cfcat.protocols import PROTOCOLS
from cfcat.repl.arguments import clip, missing
from cfcat.repl.settings import EOLS, SETTINGS, VIEWS
from cfcat.report.render import escape

__all__ = ["COMMANDS", "Call", "Command", "Line", "help_lines", "parse"]

# What Tab completes where that is no list of words: a path, the target of this session, a command, a setting.
Kind = Literal["file", "target", "command", "setting"]


class Command(NamedTuple):
    """A row of the table. `name`: without its colon. `usage`: with it; what is optional is in brackets.

    `arguments`: what Tab completes after it: words, or things of some kind. `details`: more lines for `:help NAME`.
    `verbatim`: the blanks of the argument count, but for the one before it. `stands_for`: the line that an alias is
    short for, or "".
    """

    name: str
    usage: str
    summary: str
    arguments: Kind | tuple[str, ...] = ()
    details: str = ""
    verbatim: bool = False
    stands_for: str = ""

    @property
    def takes_argument(self) -> bool:
        return " " in self.usage

    @property
    def missing(self) -> str:
        """The name of the required argument in `usage`; "" if none is required."""
        return re.sub(r"\[.*?\]", "", self.usage.partition(" ")[2]).strip()


def _row(name: str, *values: str) -> str:
    """A name and all that it can be, as a hanging paragraph of at most 80 characters."""
    lines = [f"  {name:<14}"]
    for number, value in enumerate(values, start=1):
        word = f" {value}{',' if number < len(values) else ''}"
        if len(lines[-1] + word) > 80:
            lines.append(" " * 16)
        lines[-1] += word
    return "\n".join(lines)


# In the order of `:help`.
_TABLE = (
    Command(
        "starttls",
        ":starttls [PROTO]",
        "upgrade the connection to TLS, in place",
        tuple(PROTOCOLS),
        f"""\
With PROTO its dialog is run first; without it the peer must have agreed
already, to a STARTTLS that you sent yourself. Possible once, and only on a
connection opened with --tls starttls.
{_row("PROTO", *PROTOCOLS)}""",
    ),
    Command("tls", ":tls", "show TLS version, cipher, ALPN, name and trust"),
    Command("cert", ":cert", "show the peer's certificates"),
    Command(
        "send",
        ":send [-b] TEXT",
        "send TEXT, with escapes, without a line ending",
        details="""\
Everything after one blank counts, blanks at the end too. The escapes are
\\r \\n \\t \\0 \\\\ and \\xNN, which is any byte; other characters are sent as UTF-8.
With -b it is sent in base64, with a line ending: as AUTH PLAIN wants it. A
TEXT that begins with -b is written \\x2db.
  :send EHLO me\\r\\n
  :send \\x16\\x03\\x01
  :send -b \\0user\\0secret""",
        verbatim=True,
    ),
    Command(
        "hex",
        ":hex BYTES",
        "send bytes given as hexadecimal digits",
        details="""\
Two digits a byte, in either case; blanks and 0x before a piece are allowed.
  :hex 0d 0a
  :hex 160301 0x00""",
    ),
    Command(
        "file",
        ":file [-m] PATH",
        "send a file as it is, or with -m as a message",
        "file",
        """\
PATH is the rest of the line, without quotes; ~ is your home. -m is for what
stands behind DATA of SMTP and POST of NNTP: line ends become CR LF, a dot at
the beginning of a line is doubled, and a line with a dot alone ends it.
  :file -m message.eml""",
    ),
    Command(
        "secret",
        ":secret [PROMPT]",
        "send a line that is typed without being shown",
        details="""\
It is not stored, and masked in logs. In a script it is what the environment has
as CFCAT_SECRET.
  :secret Password:""",
    ),
    Command("eof", ":eof", "end sending (half-close) and go on receiving"),
    Command("close", ":close", "close the connection and stay here"),
    Command(
        "open",
        ":open [TARGET] [OPTIONS]",
        "connect again, to the same target or to another one",
        "target",
        """\
TARGET is host:port. The options are those of the command line: --tls off, on or
starttls, --starttls PROTO, --cacert FILE, --sni NAME, -k and
--ignore-unexpected-eof; without --tls the mode is the one used before. A
connection that is open is closed first.""",
    ),
    Command(
        "view",
        f":view {'|'.join(VIEWS)}",
        "show what comes as text, as hex, or unfiltered",
        VIEWS,
        """\
text: control characters and bytes that are no UTF-8 are shown escaped.
raw: everything passes; the peer can do to your terminal whatever it likes.""",
    ),
    Command(
        "eol",
        f":eol {'|'.join(EOLS)}",
        "what Enter sends after the text",
        tuple(EOLS),
        """\
crlf is what most protocols want, and what a session begins with.""",
    ),
    Command("crlf", ":crlf", "short for :eol crlf", stands_for=":eol crlf"),
    Command("lf", ":lf", "short for :eol lf", stands_for=":eol lf"),
    Command(
        "log",
        ":log FILE|off",
        "write a transcript to FILE, or stop writing it",
        "file",
        """\
With time, direction and TLS mark; lines that carry secrets are masked. The
file is appended to. A file that is called off is ./off here.""",
    ),
    Command(
        "pcap",
        ":pcap FILE|off",
        "capture the next connections, for Wireshark, or stop",
        "file",
        """\
Packets as they would be on the wire, with the keys of TLS: whoever has the
file can read what it holds, passwords too. What is in the file is replaced.""",
    ),
    Command(
        "export",
        ":export FILE",
        "write what was said so far as a Worker",
        "file",
        """\
An ES module with the same connect(), the same bytes and the same upgrade, for
Cloudflare Workers. Secrets become bindings. The file is replaced.""",
    ),
    Command("info", ":info", "show addresses, state and bytes each way"),
    Command(
        "set",
        ":set [NAME VALUE]",
        "change a setting, or list them all",
        "setting",
        "\n".join(
            (
                *(_row(name, *values) for name, values in SETTINGS.items()),
                "proto is what Tab completes, and which lines are secrets. With clear-secrets on",
                "secrets are sent in clear text without asking. With workers on a new connection",
                "is made only where a Worker on Cloudflare could make it.",
                "With expand on ${NAME} in a line is the group NAME of the last match that had",
                "one, else --var's, else the environment's; $${ is ${. encoding is that of text,",
                "received and typed.",
                "  :set expand on",
                "  :set encoding latin-1",
            )
        ),
    ),
    Command(
        "workers",
        ":workers",
        "say whether a Worker on Cloudflare could connect",
        details="""\
The name of the target is resolved once more; nothing is connected to. What
Cloudflare blocks can change: the day on which it was so is named.""",
    ),
    Command(
        "wait",
        ":wait [SECS]",
        "wait until nothing more comes",
        details="""\
For scripts. SECS is how long nothing must come: 0.5 unless given.""",
    ),
    Command(
        "reply",
        ":reply [-t SECS] REGEX",
        "wait for the next reply, and see that it is this",
        details="""\
For scripts: a whole reply of the protocol (:set proto, else of the port, or as
the server greets), whose beginning must match; of IMAP and sieve the beginning
of its last line. Any other reply is an error at once, as is none within SECS
(10 unless given). SMTP, LMTP, FTP, NNTP, POP3, IMAP, sieve and redis have
replies of several lines; elsewhere it is a line. Each reply is looked at once.
  :reply 250
  :reply -t 60 a1 OK
  :reply (?P<session>\\S+)""",
        verbatim=True,
    ),
    Command(
        "expect",
        ":expect [-t SECS] [-x REGEX] REGEX",
        "wait for a match in what came since the last one",
        details="""\
For scripts: no match within SECS (10 unless given), or before the peer's end,
is an error; so is a match of -x, which has no blank in it, before it.
REGEX is Python's, for bytes: it begins after the blank and goes to the end of
the line. ^ is the beginning of any line, and $ is before \\n: the end of a
line is \\r\\n in most protocols, and \\r\\n may be matched. (?i) in front: in
either case. A REGEX that begins with -t is written \\-t.
  :expect ^250[ ]
  :expect -t 5 (?i)^a1 ok.*\\r\\n
  :expect -x ^5 ^250[ ]""",
        verbatim=True,
    ),
    Command(
        "sleep",
        ":sleep SECS",
        "do nothing for so long",
        details="""\
  :sleep 0.5""",
    ),
    Command(
        "timeout",
        ":timeout SECS",
        "give the script so long, from here on",
        details="""\
Reading after its last line included: then it ends with status 28. The last one
counts. A session has no such end.
  :timeout 30""",
    ),
    Command("#", ":# [TEXT]", "a comment", details="  :# wait for the greeting", verbatim=True),
    Command(
        "echo",
        ":echo [TEXT]",
        "say TEXT on standard error",
        details="""\
  :echo now the mail""",
        verbatim=True,
    ),
    Command(
        "dump",
        ":dump [N]",
        "show the last N bytes received in hexadecimal",
        details="""\
256 unless given, and at most 16384.
  :dump 64""",
    ),
    Command("help", ":help [CMD]", "list the commands, or explain one", "command"),
    Command("quit", ":quit", "close the connection and leave"),
)
WIDEST_USAGE = 28  # in the list of all commands; the summary of a wider one is on the next line
COMMANDS: Mapping[str, Command] = {command.name: command for command in _TABLE}
# Other programs' names for commands, used for suggestions when spelling does not help.
_WORDS_OF_OTHERS = {
    "?": "help",
    "abort": "close",
    "bye": "quit",
    "cipher": "tls",
    "ciphers": "tls",
    "connect": "open",
    "disconnect": "close",
    "display": "set",
    "exit": "quit",
    "hexdump": "view",
    "logout": "quit",
    "reconnect": "open",
    "shutdown": "eof",
    "ssl": "starttls",
    "status": "info",
    "wq": "quit",
    "until": "expect",
    "x": "quit",
}


class Line(NamedTuple):
    """Text for the peer, without the line ending that is sent after it."""

    text: str

    @property
    def line(self) -> str:
        """As it is typed."""
        return f":{self.text}" if self.text.startswith(":") else self.text


class Call(NamedTuple):
    """A command, never an alias, and its argument: present if it is required, "" if the command takes none."""

    command: Command
    argument: str

    @property
    def line(self) -> str:
        """As it is typed."""
        return f":{self.command.name} {self.argument}"


def parse(line: str) -> Line | Call:
    """What a line, without its end, asks for.

    Raises:
        CommandError: no such command, an argument too many or none where there must be one.
    """
    if not line.startswith(":"):
        return Line(line)
    if line.startswith("::"):
        return Line(line[1:])
    if line.startswith(":#"):
        return Call(COMMANDS["#"], line[2:])
    match = re.match(r":(\S*)\s?(.*)", line, re.DOTALL)
    assert match is not None
    name, argument = match.groups()
    command = _find(name)
    if not command.verbatim:
        argument = argument.strip()
    if argument and not command.takes_argument:
        raise CommandError(f":{name} takes no argument", f":help {name}")
    if command.missing and not argument:
        raise missing(command.name, command.missing)
    return parse(command.stands_for) if command.stands_for else Call(command, argument)


def _find(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if not name:
        raise CommandError("a colon without a command", ":help lists the commands; :: sends a colon")
    shown = escape(clip(name))
    nearest = _nearest(name)
    advice = f"did you mean {_either(nearest)}?" if nearest else ":help lists the commands;"
    raise CommandError(f":{shown} is not a command; nothing was sent", f"{advice} ::{shown} sends it as it is")


def _nearest(name: str) -> list[str]:
    """The commands that a mistyped word may have meant: the nearest, or those that begin with it."""
    word = name.lower()
    if word in COMMANDS:
        return [word]
    if word in _WORDS_OF_OTHERS:
        return [_WORDS_OF_OTHERS[word]]
    return [other for other in COMMANDS if other.startswith(word)] or difflib.get_close_matches(word, COMMANDS, n=1)


def help_lines(name: str | None = None) -> list[str]:
    """What `:help` shows: of all commands, or of one, with or without its colon. No line has more than 80 characters.

    Raises:
        CommandError: no such command.
    """
    if not name:
        width = max(len(command.usage) for command in COMMANDS.values() if len(command.usage) <= WIDEST_USAGE)
        rows = []
        for command in COMMANDS.values():
            is_wide = len(command.usage) > width
            rows += [command.usage] * is_wide
            rows.append(f"{'' if is_wide else command.usage:<{width}}  {command.summary}")
        return [*rows, "All other text is sent as it is, with the line ending; ::x sends :x."]
    command = _find(name.removeprefix(":"))
    return [command.usage, f"  {command.summary}", *command.details.splitlines()]


def _either(names: Sequence[str]) -> str:
    *some, last = (f":{name}" for name in names)
    return f"{', '.join(some)} or {last}" if some else last
