"""The arguments of a session's commands: text as it was typed to values, or one line about what is wrong with it.

Pure.
"""

from __future__ import annotations

import base64
import difflib
import math
import os
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from cfcat.core.choices import SECURE_TRANSPORTS, SecureTransport
from cfcat.edges.target import typed_name, typed_target
from cfcat.errors import AddressError, CommandError
from cfcat.protocols import PROTOCOLS, Protocol
from cfcat.repl.settings import EOLS, SETTINGS, VIEWS
from cfcat.report.messages import explain_address
from cfcat.report.render import escape

__all__ = [
    "OPEN_OPTIONS",
    "Change",
    "Expectation",
    "Reopening",
    "clip",
    "compile_pattern",
    "encode",
    "missing",
    "parse_dump",
    "parse_eol",
    "parse_expect",
    "parse_file",
    "parse_hex",
    "parse_log",
    "parse_open",
    "parse_path",
    "parse_protocol",
    "parse_reply",
    "parse_seconds",
    "parse_set",
    "parse_view",
    "parse_wait",
    "sent_by",
    "unescape",
]

DUMP_BYTES = 256  # what `:dump` shows unless told

Word = TypeVar("Word", bound=str)

# ---------------------------------------------------------------------------------------------- bytes

_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(x.{0,2}|.?))", re.DOTALL)


def sent_by(argument: str, encoding: str = "utf-8") -> bytes:
    """The bytes of `:send [-b] TEXT`; of -b without the line ending.

    Raises:
        CommandError: as `unescape`.
    """
    if argument == "-b" or argument.startswith("-b "):
        return base64.b64encode(unescape(argument[3:], encoding))
    return unescape(argument, encoding)


def unescape(text: str, encoding: str = "utf-8") -> bytes:
    """The bytes that `:send` sends: its escapes, and all other characters as text in this encoding.

    A byte that was no UTF-8 when it was read (`surrogateescape`) is sent as that byte. `\\0` is NUL, whatever digits
    follow.

    Raises:
        CommandError: unknown escape.
    """
    data = bytearray()
    end = 0
    for match in _ESCAPE.finditer(text):
        data += encode(text[end : match.start()], encoding)
        end = match.end()
        digits, other = match.groups()
        if digits is None and other not in _ESCAPES:
            raise _no_escape(other)
        data += bytes.fromhex(digits) if other is None else _ESCAPES[other]
    return bytes(data + encode(text[end:], encoding))


def _no_escape(other: str) -> CommandError:
    if not other:
        return CommandError("a backslash at the end of :send", "a backslash itself is \\\\")
    if other.startswith("x"):
        return CommandError(f"'\\{escape(other)}' is no escape of :send", "two hexadecimal digits follow \\x")
    known = r"\r \n \t \0 \\ \xNN"
    return CommandError(f"'\\{escape(other)}' is no escape of :send", f"{known} are the escapes")


def encode(text: str, encoding: str = "utf-8") -> bytes:
    """Typed text as bytes. Raises CommandError: the encoding has no such character."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError as error:
        character = escape(text[error.start])
        raise CommandError(f"'{character}' is no character of {encoding}; nothing was sent", ":set encoding") from error


def parse_hex(text: str) -> bytes:
    """The bytes that `:hex` sends: pieces of whole bytes, between blanks, each with or without `0x` before it.

    Raises:
        CommandError: a piece is not hexadecimal.
    """
    data = bytearray()
    for piece in text.split():
        digits = re.sub("^0[xX]", "", piece)
        if not re.fullmatch("[0-9A-Fa-f]+", digits):
            raise CommandError(f"'{escape(clip(piece))}' is not hexadecimal", ":hex 0d 0a, :hex 0d0a, :hex 0x0d 0x0a")
        if len(digits) % 2:
            raise CommandError(f"'{escape(clip(piece))}' has a digit too many or too few", "two digits make a byte")
        data += bytes.fromhex(digits)
    return bytes(data)


# ------------------------------------------------------------------------------------- the arguments


class Reopening(NamedTuple):
    """How to connect again. None, and False: as before, or as `Session` has it for a target of its own."""

    target: str | None = None
    tls: SecureTransport | None = None
    starttls: str | None = None
    cacert: str | None = None
    sni: str | None = None
    insecure: bool = False
    ignore_unexpected_eof: bool = False

    @property
    def needs_tls(self) -> bool:
        """Is there something that makes sense under TLS only?"""
        return bool(self.cacert or self.sni or self.insecure or self.ignore_unexpected_eof)


class Expectation(NamedTuple):
    """What `:expect` or `:reply` waits for. `timeout_s`: None where it says nothing; it may be 0.

    `forbidden`: what must not come before it.
    """

    timeout_s: float | None
    pattern: re.Pattern[bytes]
    forbidden: re.Pattern[bytes] | None = None


class Change(NamedTuple):
    """A name of `SETTINGS`, and one of its values."""

    name: str
    value: str


def parse_open(argument: str) -> Reopening:
    """`[TARGET]` and options in any order; TARGET may be two words, as on the command line.

    Raises:
        CommandError: it is something else, or the target cannot be parsed.
    """
    words: list[str] = []
    given: dict[str, Any] = {}
    waiting = iter(argument.split())
    for word in waiting:
        option, equals, value = word.partition("=")
        field = OPEN_OPTIONS.get(option, "")
        if not word.startswith("-"):
            words.append(word)
        elif not field or field in given or (equals and field in OPEN_FLAGS):
            raise CommandError(f":open does not know '{escape(clip(word))}'", ":help open")
        elif field in OPEN_FLAGS:
            given[field] = True
        else:
            given[field] = _open_value(option, value if equals else next(waiting, ""))
    if "starttls" in given:
        if given.setdefault("tls", "starttls") != "starttls":
            raise CommandError(f"--starttls excludes --tls {given['tls']}", ":help open")
    if len(words) > 2:
        raise CommandError(":open takes one target", ":help open")
    return Reopening(_parse_target(words) if words else None, **given)


# The options of `:open`, which are those of the command line, and the field of each.
OPEN_OPTIONS = {
    "--tls": "tls",
    "--starttls": "starttls",
    "--cacert": "cacert",
    "--sni": "sni",
    "-k": "insecure",
    "--insecure": "insecure",
    "--ignore-unexpected-eof": "ignore_unexpected_eof",
}
OPEN_FLAGS = frozenset({"insecure", "ignore_unexpected_eof"})


def _open_value(option: str, value: str) -> str:
    if option == "--tls":
        return _choose(value, SECURE_TRANSPORTS, option)
    if not value:
        raise CommandError(f"{option} needs a value", ":help open")
    if option == "--starttls":
        return _choose(value, tuple(PROTOCOLS), option)
    return _name(value) if option == "--sni" else value


def _name(text: str) -> str:
    try:
        return typed_name(text)
    except AddressError as error:
        why = f": {escape(error.detail)}" if error.detail else ""
        raise CommandError(f"--sni: '{escape(clip(text))}' is not a host name{why}", ":help open") from error


def _parse_target(words: Sequence[str]) -> str:
    """One word or two, as on the command line."""
    try:
        return typed_target(*words).text
    except AddressError as error:
        message, hint = explain_address(":".join(words), error)
        raise CommandError(message, hint.replace("cfcat ", ":open ")) from error


def parse_expect(argument: str, encoding: str = "utf-8") -> Expectation:
    """`[-t SECS] [-x REGEX] REGEX`, for `search()` in what came; the REGEX of -x has no blank in it.

    `^` and `$` match at every line: the searched text may begin in the middle of a line.

    Raises:
        CommandError: no regular expression, one that does not compile, or no number of seconds.
    """
    return _parse_expectation(argument, encoding, "expect", "tx")


def parse_reply(argument: str, encoding: str = "utf-8") -> Expectation:
    """`[-t SECS] REGEX`, for `match()` at the beginning of a reply. Raises CommandError, as `parse_expect`."""
    return _parse_expectation(argument, encoding, "reply", "t")


def _parse_expectation(argument: str, encoding: str, name: str, options: str) -> Expectation:
    argument = argument.lstrip()
    given: dict[str, str] = {}
    option = re.compile(rf"-([{options}])\s*(\S*)\s*")
    while (match := option.match(argument)) is not None and match[1] not in given:
        given[match[1]] = match[2]
        argument = argument[match.end() :]
    timeout_s = _parse_seconds(given["t"]) if "t" in given else None
    forbidden = compile_pattern(given["x"], encoding) if "x" in given else None
    if not argument:
        raise missing(name, "REGEX")
    return Expectation(timeout_s, compile_pattern(argument, encoding), forbidden)


def compile_pattern(text: str, encoding: str = "utf-8") -> re.Pattern[bytes]:
    """A regular expression for what comes. Raises CommandError."""
    if not text:
        raise CommandError("the regular expression is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may take for a set operation
            return re.compile(_encode_pattern(text, encoding), re.MULTILINE)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        reason = escape(str(error)) if isinstance(error, re.error) else "it is too large"
        what = f"'{escape(clip(text))}' is not a regular expression: {reason}"
        raise CommandError(what, "a backslash in front makes a character of its own of it") from error


def _encode_pattern(text: str, encoding: str) -> bytes:
    """Some encodings have bytes of ASCII in other characters: they stand for themselves."""
    if encoding == "utf-8" or text.isascii():
        return encode(text)
    return b"".join(
        encode(character) if character.isascii() else re.escape(encode(character, encoding)) for character in text
    )


def parse_dump(argument: str, limit: int) -> int:
    """`[N]` of `:dump`, from 1 to the limit. Raises CommandError."""
    if not argument:
        return DUMP_BYTES
    if not (argument.isascii() and argument.isdigit() and 0 < int(argument[:9]) <= limit):
        raise CommandError(f"'{escape(clip(argument))}' is not a number of bytes from 1 to {limit}", ":help dump")
    return int(argument)


def parse_seconds(argument: str) -> float:
    """`SECS` of `:sleep` and `:timeout`. Raises CommandError."""
    return _parse_seconds(argument)


def parse_wait(argument: str) -> float | None:
    """`[SECS]`, how long nothing must come; None where it is not said.

    Raises:
        CommandError: no number of seconds.
    """
    return _parse_seconds(argument) if argument else None


def _parse_seconds(text: str) -> float:
    # float() would take 1_0, nan and the digits of other scripts too.
    if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text) or not math.isfinite(float(text)):
        raise CommandError(f"'{escape(clip(text))}' is not a number of seconds", "as in 5 or 0.5")
    return float(text)


def parse_protocol(argument: str) -> Protocol | None:
    """`[PROTO]` of `:starttls`; None for the upgrade without a dialog.

    Raises:
        CommandError: no such protocol.
    """
    return PROTOCOLS[_choose(argument, tuple(PROTOCOLS), ":starttls")] if argument else None


def parse_view(argument: str) -> str:
    """One of `VIEWS`. Raises CommandError."""
    return _choose(argument, VIEWS, ":view")


def parse_eol(argument: str) -> str:
    """One of `EOLS`. Raises CommandError."""
    return _choose(argument, tuple(EOLS), ":eol")


def parse_set(argument: str) -> Change | None:
    """`[NAME VALUE]`; None where all settings are to be listed.

    Raises:
        CommandError: no such setting, no value or one that it cannot have.
    """
    words = argument.split()
    if not words:
        return None
    name = _choose(words[0], tuple(SETTINGS), ":set")
    values = SETTINGS[name]
    if len(words) > 2:
        raise CommandError(f":set {name} takes one value", _one_of(values))
    return Change(name, _choose(words[1] if len(words) == 2 else "", values, f":set {name}"))


def parse_path(argument: str) -> str:
    """A PATH: the rest of the line, with `~` as in a shell."""
    return os.path.expanduser(argument)


def parse_file(argument: str) -> tuple[str, bool]:
    """`[-m] PATH` of `:file`: the path, and whether the file is a message.

    Raises:
        CommandError: there is no path.
    """
    option, _, path = argument.partition(" ")
    if option != "-m":
        return parse_path(argument), False
    if not path.strip():
        raise missing("file", "PATH")
    return parse_path(path.strip()), True


def parse_log(argument: str) -> str | None:
    """`FILE|off` of `:log` and `:pcap`; None for off."""
    return None if argument == "off" else parse_path(argument)


def _choose(word: str, choices: Sequence[Word], whose: str) -> Word:
    for choice in choices:
        if choice == word:
            return choice
    if not word:
        raise CommandError(f"{whose} needs a value", _one_of(choices))
    near = difflib.get_close_matches(word.lower(), choices, n=1)
    raise CommandError(
        f"{whose} does not know '{escape(clip(word))}'", f"did you mean {near[0]}?" if near else _one_of(choices)
    )


def missing(name: str, what: str) -> CommandError:
    """For a command without an argument that it must have."""
    return CommandError(f":{name} needs {what}", f":help {name}")


def _one_of(choices: Sequence[str]) -> str:
    return f"one of {', '.join(choices)}"


def clip(text: str) -> str:
    """What is quoted in a message: only the beginning is shown."""
    return text if len(text) <= 40 else f"{text[:39]}…"
