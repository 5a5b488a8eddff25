"""Which mode a run has, by what stdin and stdout are and what is asked for; and which options go together.

Pure. An option in the wrong mode or in the wrong company is an error, never ignored. Every such rule is a row here;
the options that were given come as a list of names, such as "--insecure", "-k" and "--tls on".
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import NamedTuple, get_args

from cfcat.core.choices import Shutdown
from cfcat.errors import UsageError

__all__ = [
    "Excludes",
    "Mode",
    "Needs",
    "Stdin",
    "check_alone",
    "check_export",
    "check_family",
    "check_options",
    "check_replay",
    "check_tap",
    "check_together",
    "check_unix",
    "choose_mode",
]


class Mode(Enum):
    """The value is what the mode is called in messages."""

    PIPE = "pipe mode"
    CHECK = "-z"
    REPL = "the interactive mode"
    SCRIPT = "a script"


class Stdin(Enum):
    """What standard input is."""

    TERMINAL = "terminal"
    OTHER = "other"  # a file, a pipe, a socket, a null device
    CLOSED = "closed"


class _Row(NamedTuple):
    """The mode when nothing is asked for, with --pipe and with --repl; a text with its hint is an error."""

    default: Mode
    pipe: Mode
    repl: Mode | tuple[str, str]


_NO_SCREEN = "--repl needs a terminal for standard output too", "--log FILE keeps a transcript"
_NO_LINES = "--repl needs standard input, which is closed", ""

# By what stdin is, and whether stdout is a terminal.
TABLE: dict[tuple[Stdin, bool], _Row] = {
    (Stdin.TERMINAL, True): _Row(Mode.REPL, Mode.PIPE, Mode.REPL),
    (Stdin.TERMINAL, False): _Row(Mode.PIPE, Mode.PIPE, _NO_SCREEN),
    (Stdin.OTHER, True): _Row(Mode.PIPE, Mode.PIPE, Mode.SCRIPT),
    (Stdin.OTHER, False): _Row(Mode.PIPE, Mode.PIPE, Mode.SCRIPT),
    (Stdin.CLOSED, True): _Row(Mode.PIPE, Mode.PIPE, _NO_LINES),
    (Stdin.CLOSED, False): _Row(Mode.PIPE, Mode.PIPE, _NO_LINES),
}
_WITH_DATA = (Mode.PIPE, Mode.REPL, Mode.SCRIPT)
# Options that are not for every mode, and the modes that they are for.
OPTIONS: dict[str, tuple[Mode, ...]] = {
    "--half-open": _WITH_DATA,
    "--raw": _WITH_DATA,
    "--export": _WITH_DATA,
    "-w": (Mode.PIPE, Mode.SCRIPT),
    "--shutdown": (Mode.PIPE, Mode.SCRIPT),
    "--no-shutdown": (Mode.PIPE, Mode.SCRIPT),
    "-q": (Mode.PIPE, Mode.SCRIPT),
    "--crlf": (Mode.PIPE,),
    "--after": (Mode.PIPE,),
    "--until": (Mode.PIPE,),
    "--eol": (Mode.REPL, Mode.SCRIPT),
    "--proto": (Mode.REPL, Mode.SCRIPT),
    "--var": (Mode.REPL, Mode.SCRIPT),
    "--no-history": (Mode.REPL,),
    "--progress": (Mode.PIPE,),
}


# What is meant by an option in the wrong mode, where that is not the mode's fault.
INSTEAD = {
    ("-w", Mode.CHECK): "--connect-timeout SECS is its deadline",  # nc -z -w 3
    ("-w", Mode.REPL): "a session stays until you leave; --connect-timeout SECS to connect, and --pipe has it",
    ("-q", Mode.REPL): "a session stays until you leave, with Ctrl-D or :quit; --pipe has it",
    ("--crlf", Mode.REPL): "leave it out: Enter sends CR LF, unless --eol says otherwise",
    ("--crlf", Mode.SCRIPT): "leave it out: a line is sent with CR LF, unless --eol says otherwise",
}


class Needs(NamedTuple):
    """`option` means nothing unless one of `others` is given too; `advice` is what a message asks for."""

    option: str
    advice: str
    others: tuple[str, ...]

    def problem(self, given: Collection[str]) -> str | None:
        """What is wrong with these options, or None."""
        if self.option in given and not any(other in given for other in self.others):
            return f"{self.option} needs {self.advice}"
        return None


class Excludes(NamedTuple):
    """`option` and `other` contradict each other."""

    option: str
    other: str
    text: str

    def problem(self, given: Collection[str]) -> str | None:
        """What is wrong with these options, or None."""
        return self.text if self.option in given and self.other in given else None


_TLS = ("--tls on", "--tls starttls", "--starttls")
FAMILY = Excludes("-4", "-6", "-4 and -6 exclude each other")
# In the order in which they are looked at.
TOGETHER: tuple[Needs | Excludes, ...] = (
    *(
        Excludes("--listen", option, f"-l excludes {option}{why}")
        for option, why in (
            ("-k", ": --keep takes the next client, and --client-ca FILE verifies clients"),
            ("--cacert", "; --client-ca FILE verifies clients"),
            ("--helo", ": it is for a client"),
            ("--workers", ": it says where a Worker may connect to"),
            ("--check-workers", ": it says where a Worker may connect to"),
            ("--export", ": an export dials"),
            ("--check", ": it says whether a server is there"),
            ("--wait", ": a listener waits for its client in any case"),
        )
    ),
    Needs("--accept-tls", "--tap", ("--tap",)),
    Needs("--quiet", "--tap", ("--tap",)),
    Needs("--once", "--tap", ("--tap",)),
    *(
        Excludes("--listen", option, f"-l excludes {option}: it is for connecting")
        for option in ("--proxy", "--source", "--resolve")
    ),
    Excludes("--proxy-protocol", "--export", "--proxy-protocol excludes --export: a Worker has no such header"),
    Excludes("--workers", "--proxy", "--workers excludes --proxy: it is about where this machine connects to"),
    Needs("--proxy-cacert", "--proxy", ("--proxy",)),
    Needs("--keep", "-l", ("--listen",)),
    Needs("--ignore", "--replay", ("--replay",)),
    Needs("--connection", "--replay", ("--replay",)),
    Needs("--client-ca", "-l", ("--listen",)),
    Needs("--ca-out", "-l", ("--listen",)),
    Excludes("--keep", "--json", "--keep excludes --json, which reports one connection"),
    Excludes("--keep", "--progress", "--keep excludes --progress, which is about one connection"),
    Excludes("--ca-out", "--cert", "--ca-out is about a certificate that is made: it excludes --cert"),
    *(
        Excludes("--no-shutdown", f"--shutdown {when}", f"--no-shutdown excludes --shutdown {when}")
        for when in get_args(Shutdown)
    ),
    Excludes("--starttls", "--tls on", "--starttls excludes --tls on"),
    Excludes("--starttls", "--tls off", "--starttls excludes --tls off"),
    Needs("--helo", "--starttls smtp or lmtp", ("--starttls smtp", "--starttls lmtp", "--tls starttls")),
    Needs("--sni", "--tls on", _TLS),
    Needs("--cacert", "--tls on", _TLS),
    Needs("-k", "--tls on", _TLS),
    Needs("--cert", "--tls on", _TLS),
    Needs("--alpn", "--tls on", _TLS),
    Needs("--tls-min", "--tls on", _TLS),
    Needs("--tls-max", "--tls on", _TLS),
    Needs("--ciphers", "--tls on", _TLS),
    Needs("--ignore-unexpected-eof", "--tls on", _TLS),
    Needs("--key", "--cert", ("--cert",)),
    Excludes("-k", "--cacert", "-k and --cacert exclude each other"),
    Needs("--log-secrets", "--log FILE, or --events FILE", ("--log", "--events")),
    *(
        Excludes("--events -", option, f"--events - excludes {option}: standard error has nothing else then")
        for option in ("-v", "-x", "--json", "--progress")
    ),
    Needs("--client-ca", "--tls on", _TLS),
    Needs("--ca-out", "--tls on", _TLS),
)
WITHIN_TAP: tuple[Needs | Excludes, ...] = (
    *(
        Excludes("--events -", option, f"--events - excludes {option}: standard error has nothing else then")
        for option in ("-v", "--json")
    ),
    Excludes("--quiet", "-x", "--quiet excludes -x: it shows nothing"),
    Excludes("-k", "--cacert", "-k and --cacert exclude each other"),
    Needs("--key", "--cert", ("--cert",)),
    Needs("--proxy-cacert", "--proxy", ("--proxy",)),
    *(Excludes("--starttls", f"--tls {mode}", f"--starttls excludes --tls {mode}") for mode in ("on", "off")),
    Excludes("--starttls", "--accept-tls off", "--starttls excludes --accept-tls off, which does not look for TLS"),
)
WITHIN_REPLAY: tuple[Needs | Excludes, ...] = (
    *WITHIN_TAP[1:4],
    Needs("--log-secrets", "--log FILE", ("--log",)),
    Excludes("--keep", "--json", "--keep excludes --json, which reports one connection"),
    Excludes("--ca-out", "--cert", "--ca-out is about a certificate that is made: it excludes --cert"),
)
# What the verdict of --check-workers may depend on: other options concern the connection, which a check does not make.
WITH_CHECK = frozenset({"target", "port", "--check-workers", "-4", "-6", "--connect-timeout", "--json"})
WITH_FROM = frozenset({"--from", "--export"})
# What means something to the tap, which reads no stdin and has no session.
WITH_TAP = frozenset(
    {
        "target",
        "port",
        "--tap",
        "--accept-tls",
        "--quiet",
        "--once",
        "-4",
        "-6",
        "--connect-timeout",
        "--tls",
        "--tls on",
    }
    | {"--tls off", "--sni", "--cacert", "--cert", "--key", "--alpn", "--tls-min", "--tls-max", "--ciphers"}
    | {"--ignore-unexpected-eof", "--insecure", "-k", "--ca-out", "--verbose", "-v", "--hexdump", "-x", "--log"}
    | {"--log-secrets", "--pcap", "--events", "--events -", "--json", "--color", "--starttls", "--proxy"}
    | {"--proxy-cacert", "--source", "--resolve", "--proxy-protocol"}
)
# What means something to a replay, which has TLS where its transcript has it, and no stdin and no session.
WITH_REPLAY = frozenset(
    {"target", "port", "--replay", "--ignore", "--connection", "--idle-timeout", "-w", "-4", "-6", "--connect-timeout"}
    | {
        "--sni",
        "--cert",
        "--key",
        "--alpn",
        "--tls-min",
        "--tls-max",
        "--ciphers",
        "--verbose",
        "-v",
        "--hexdump",
        "-x",
    }
    | {"--log", "--log-secrets", "--json", "--color"}
)
REPLAYED_TO = frozenset({"--cacert", "--insecure", "-k", "--proxy", "--proxy-cacert"})
REPLAYED_FROM = frozenset({"--listen", "-l", "--keep", "--client-ca", "--ca-out"})
ALIKE = ("--color ", "--tls-m")


def choose_mode(
    stdin: Stdin,
    stdout_is_terminal: bool,
    *,
    pipe: bool = False,
    repl: bool = False,
    check: bool = False,
    script: bool = False,
) -> Mode:
    """The mode of a run. `pipe`, `repl`, `check`, `script` (from a file): is it asked for?

    Raises:
        UsageError: several are, or what is asked for cannot be had with these descriptors.
    """
    if pipe and repl:
        raise UsageError("--pipe and --repl exclude each other")
    if check:
        if pipe or repl or script:
            other = "--pipe" if pipe else "--repl" if repl else "--script"
            raise UsageError(f"-z and {other} exclude each other")
        return Mode.CHECK
    if script:
        if pipe:
            raise UsageError("--pipe and --script exclude each other")
        return Mode.SCRIPT
    row = TABLE[stdin, stdout_is_terminal]
    chosen = row.pipe if pipe else row.repl if repl else row.default
    if isinstance(chosen, Mode):
        return chosen
    raise UsageError(*chosen)


def check_options(mode: Mode, given: Collection[str]) -> None:
    """Raise UsageError for an option that is not for this mode."""
    for option, modes in OPTIONS.items():
        if option in given and mode not in modes:
            meant = " and ".join(other.value for other in modes)
            way = "" if Mode.REPL in modes and len(modes) == 1 else " (--pipe)" if Mode.PIPE in modes else " (--repl)"
            hint = INSTEAD.get((option, mode), f"it is for {meant}{way}")
            raise UsageError(f"{option} is not for {mode.value}", hint)


def check_family(given: Collection[str]) -> None:
    """Raise UsageError where IPv4 only and IPv6 only are asked for."""
    _refuse(FAMILY.problem(given))


def check_together(given: Collection[str]) -> None:
    """Raise UsageError for the first of TOGETHER that is broken."""
    for rule in TOGETHER:
        _refuse(rule.problem(given))


def check_unix(target: str, given: Collection[str]) -> None:
    """Raise UsageError for an option that means nothing on a Unix socket, and for TLS there without a name."""
    for option in ("-4", "-6", "--proxy", "--source", "--resolve", "--workers", "--check-workers", "--export"):
        if option in given:
            raise UsageError(f"{target} is a Unix socket: {option} has no meaning there")
    if "--sni" not in given and any(option in given for option in ("--tls on", "--tls starttls", "--starttls")):
        raise UsageError(f"{target} is a Unix socket: TLS needs the name of the server there", "--sni NAME")


def check_alone(given: Collection[str]) -> None:
    """Raise UsageError for an option that means nothing with --check-workers."""
    for name in given:
        if name not in WITH_CHECK:
            raise UsageError(f"--check-workers does not connect: {name} has no meaning there")


def check_tap(given: Collection[str]) -> None:
    """Raise UsageError for an option that means nothing with --tap, or not in this company."""
    if "--tls starttls" in given:
        raise UsageError("--tap follows the client: --tls is on or off there")
    for name in given:
        if name not in WITH_TAP and not name.startswith(("--accept-tls ", "--color ", "--tls-m", "--starttls ")):
            raise UsageError(f"--tap reads no standard input and has no session: {name} has no meaning there")
    for rule in WITHIN_TAP:
        _refuse(rule.problem(given))


def check_replay(given: Collection[str]) -> None:
    """Raise UsageError for an option that means nothing with --replay, or not in this company."""
    listens = "--listen" in given
    for name in given:
        if name.startswith(ALIKE) or name in WITH_REPLAY or name in (REPLAYED_FROM if listens else REPLAYED_TO):
            continue
        if name in REPLAYED_TO:
            raise UsageError(f"-l --replay plays the server: {name} has no meaning there")
        if name in REPLAYED_FROM:
            raise UsageError(f"{name} needs -l")
        why = "has TLS where the transcript has it" if "tls" in name else "reads no standard input and has no session"
        raise UsageError(f"--replay {why}: {name} has no meaning there")
    for rule in WITHIN_REPLAY:
        _refuse(rule.problem(given))


def check_export(given: Collection[str]) -> None:
    """Raise UsageError where --from comes without --export, or with anything else."""
    if "--export" not in given:
        raise UsageError("--from needs --export FILE")
    if not WITH_FROM.issuperset(given):
        raise UsageError("--from goes with --export FILE and nothing else")


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise UsageError(problem)
