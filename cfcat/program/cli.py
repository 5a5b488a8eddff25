"""The command line: flags to (address, options, mode), a run, its exit status.

Decides nothing about connections: flags are checked and translated, everything else is the core's. Library code
raises; here it is printed, in one line.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cfcat import __version__
from cfcat.edges.console import put, say
from cfcat.errors import CommandError, SocketError, StdoutError, UsageError, reason_of
from cfcat.program.help import GroupedHelp
from cfcat.program.modes import Mode, Stdin, check_options, choose_mode
from cfcat.program.output import OutputOptions, make_recorder, make_reporter, save_export
from cfcat.program.values import check_profile, check_protocol, check_target, is_name
from cfcat.report.messages import CLEAR_TEXT_NOTE, INSECURE_NOTE, explain, keys_note
from cfcat.report.render import escape
from cfcat.report.status import ExitStatus, status_of

if TYPE_CHECKING:
    import ssl

    from cfcat.core.address import Target
    from cfcat.protocols import Protocol
    from cfcat.record.recording import Recorder
    from cfcat.report.reporter import Reporter

__all__ = ["app", "run"]

# 30 s covers four SYN retransmissions on Linux (at 1, 3, 7 and 15 s). nc: none; curl: 300 s.
DEFAULT_CONNECT_TIMEOUT_S = 30.0
# What the verdict of --check-workers may depend on.
WITH_CHECK = frozenset({"target", "port", "check_workers", "ipv4", "ipv6", "connect_timeout", "json"})
LOOP_DESCRIPTORS = 3  # epoll, and the pair of sockets that wakes it

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Tls(StrEnum):
    off = "off"
    on = "on"
    starttls = "starttls"


class Version(StrEnum):
    v1_2 = "1.2"
    v1_3 = "1.3"


class Color(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


class Eol(StrEnum):
    crlf = "crlf"
    lf = "lf"
    cr = "cr"
    none = "none"


def _seconds(value: float | None) -> float | None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter("must be a number of seconds greater than 0")
    return value


def _seconds_or_zero(value: float | None) -> float | None:
    if value is not None and not (value >= 0 and math.isfinite(value)):
        raise typer.BadParameter("must be a number of seconds, 0 or more")
    return value


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cfcat {__version__}")
        raise typer.Exit


@app.command(cls=GroupedHelp, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
def cfcat(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", show_default=False, help="host:port, 192.0.2.7:port or [2001:db8::7]:port"),
    ] = None,
    port: Annotated[str | None, typer.Argument(metavar="[PORT]", help="for nc's habit: cfcat host 25")] = None,
    half_open: Annotated[
        bool,
        typer.Option("--half-open/--no-half-open", show_default=False, help="Keep sending after the server's EOF."),
    ] = False,
    ipv4: Annotated[bool, typer.Option("-4", help="Use IPv4 addresses only.")] = False,
    ipv6: Annotated[bool, typer.Option("-6", help="Use IPv6 addresses only.")] = False,
    workers: Annotated[
        bool, typer.Option("--workers", help="Connect only where a Worker on Cloudflare could; else status 7.")
    ] = False,
    check_workers: Annotated[
        bool,
        typer.Option("--check-workers", help="Say whether a Worker could, and do not connect; --json for programs."),
    ] = False,
    connect_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECS",
            callback=_seconds,
            show_default=False,
            help="Deadline for resolving, connecting, STARTTLS and TLS handshake together.  [default: 30]",
        ),
    ] = DEFAULT_CONNECT_TIMEOUT_S,
    idle_timeout: Annotated[
        float | None,
        typer.Option(
            "-w",
            "--idle-timeout",
            metavar="SECS",
            callback=_seconds,
            help="End with status 28 when nothing moves for so long.",
        ),
    ] = None,
    no_shutdown: Annotated[
        bool, typer.Option("--no-shutdown", help="Do not pass on the end of standard input.")
    ] = False,
    quit_after: Annotated[
        float | None,
        typer.Option(
            "-q",
            "--quit-after",
            metavar="SECS",
            callback=_seconds_or_zero,
            help="After the end of standard input wait at most so long, then exit 0.",
        ),
    ] = None,
    tls: Annotated[
        Tls | None, typer.Option(help="TLS from the first byte (on), or to be upgraded (starttls).  [default: off]")
    ] = None,
    starttls: Annotated[
        str | None,
        typer.Option(
            metavar="PROTO",
            help="Run the dialog of PROTO, upgrade to TLS, then begin: smtp lmtp pop3 imap ftp nntp sieve xmpp "
            "xmpp-server irc ldap postgres mysql telnet rdp mssql amqp nbd vnc",
        ),
    ] = None,
    sni: Annotated[str | None, typer.Option(metavar="NAME", help="Server name to send and to verify.")] = None,
    cacert: Annotated[
        str | None, typer.Option(metavar="FILE", help="Trust the authorities in FILE, not the system's.")
    ] = None,
    cert: Annotated[str | None, typer.Option(metavar="FILE", help="Client certificate, with its chain.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its key, where that is not in the same FILE.")
    ] = None,
    alpn: Annotated[str | None, typer.Option(metavar="LIST", help="ALPN protocols to offer: h2,http/1.1")] = None,
    tls_min: Annotated[Version | None, typer.Option(help="Lowest TLS version.  [default: 1.2]")] = None,
    tls_max: Annotated[Version | None, typer.Option(help="Highest TLS version.")] = None,
    ignore_unexpected_eof: Annotated[
        bool,
        typer.Option(
            "--ignore-unexpected-eof", help="Accept a TLS stream that ends without close_notify (else status 18)."
        ),
    ] = False,
    insecure: Annotated[
        bool, typer.Option("-k", "--insecure", help="Do not verify the server's certificate; warns.")
    ] = False,
    repl: Annotated[
        bool, typer.Option("--repl", help="A session; where standard input is no terminal, its lines are a script.")
    ] = False,
    pipe: Annotated[bool, typer.Option("--pipe", help="Pipe mode, on a terminal too.")] = False,
    crlf: Annotated[bool, typer.Option("-C", "--crlf", help="Pipe mode: send a bare LF as CRLF.")] = False,
    eol: Annotated[Eol | None, typer.Option(help="Session: the line ending that Enter sends.  [default: crlf]")] = None,
    proto: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Session: whose verbs Tab completes, and which lines are secrets: auto (by port), none, or smtp lmtp "
            "imap pop3 ftp nntp sieve irc redis http gopher memcached ldap postgres mysql xmpp.  [default: auto]",
        ),
    ] = None,
    no_history: Annotated[bool, typer.Option("--no-history", help="Session: keep no history of its lines.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Say what happens: -v events and certificate, -vv bytes, -vvv hexdump.",
        ),
    ] = 0,
    hexdump: Annotated[
        bool, typer.Option("-x", "--hexdump", help="Show all bytes in hexadecimal on standard error.")
    ] = False,
    log: Annotated[str | None, typer.Option(metavar="FILE", help="Keep a transcript in FILE, secrets masked.")] = None,
    log_secrets: Annotated[bool, typer.Option("--log-secrets", help="Do not mask secrets in the transcript.")] = False,
    export: Annotated[
        str | None, typer.Option(metavar="FILE", help="At the end write what was done as a Worker that does it again.")
    ] = None,
    transcript: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="With --export alone: from a transcript that --log kept."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Report on standard error, at the end, as one JSON object.")
    ] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Show bytes and rate on a terminal.")] = False,
    color: Annotated[Color, typer.Option(help="Colour on a terminal, always or never.")] = Color.auto,
    raw: Annotated[bool, typer.Option("--raw", help="On a terminal: pass control characters too.")] = False,
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Connect standard input and output to a TCP server, with the socket semantics of Workers' connect().

    On a terminal this is an interactive session. Otherwise the end of standard input is passed on, and the server's
    end ends the run. Exit status 0 is an end in order.
    """
    if transcript is not None:
        _export_transcript(context, transcript, export)
        return
    address = check_target(target, port)
    family = "ipv4" if ipv4 else "ipv6" if ipv6 else None
    _refuse((ipv4 and ipv6, "-4 and -6 exclude each other"))
    if check_workers:
        _refuse_other_options(context)
        raise typer.Exit(_check_workers(address, family, connect_timeout, json=json))
    mode = choose_mode(_stdin(context.obj), os.isatty(1), pipe=pipe, repl=repl)
    not_for_every_mode = {
        "-w": idle_timeout is not None,
        "--no-shutdown": no_shutdown,
        "-q": quit_after is not None,
        "--crlf": crlf,
        "--eol": eol is not None,
        "--proto": proto is not None,
        "--no-history": no_history,
        "--progress": progress,
    }
    check_options(mode, [option for option, given in not_for_every_mode.items() if given])
    protocol = None if starttls is None else check_protocol(starttls)
    secured = starttls is not None or tls in (Tls.on, Tls.starttls)
    only_with_tls = {
        "--sni": sni is not None,
        "--cacert": cacert is not None,
        "-k": insecure,
        "--cert": cert is not None,
        "--alpn": alpn is not None,
        "--tls-min": tls_min is not None,
        "--tls-max": tls_max is not None,
        "--ignore-unexpected-eof": ignore_unexpected_eof,
    }
    _refuse(
        (starttls is not None and tls in (Tls.on, Tls.off), f"--starttls excludes --tls {tls}"),
        *((given and not secured, f"{option} needs --tls on") for option, given in only_with_tls.items()),
        (key is not None and cert is None, "--key needs --cert"),
        (insecure and cacert is not None, "-k and --cacert exclude each other"),
        (log_secrets and log is None, "--log-secrets needs --log FILE"),
        (sni == "", "--sni needs a name"),
        (sni is not None and not is_name(sni), f"--sni: '{escape(sni or '')}' is not a host name"),
    )
    output = OutputOptions(verbose, hexdump, log, log_secrets, json, progress, color.value)
    view = "raw" if raw else "hex" if output.wants_hexdump else "text"
    settings = {
        "view": view if mode is Mode.REPL else "text",
        "eol": (eol or Eol.crlf).value,
        "protocol": check_profile(proto or "auto"),
        "starttls": starttls,
        "workers": "on" if workers else "off",
        "insecure": insecure,
        "typed": mode is Mode.REPL,
        "history": not no_history,
        "log": log,
        "log_secrets": log_secrets,
    }
    ends = {
        "half_open": half_open,
        "no_shutdown": no_shutdown,
        "quit_after": quit_after,
        "idle_timeout": idle_timeout,
        "crlf": crlf,
    }
    options: dict[str, Any] = {
        "secure_transport": "starttls" if protocol is not None else (tls or Tls.off).value,
        "allow_half_open": half_open,
        "expected_server_hostname": sni,
        "address_family": family,
        "connect_timeout": connect_timeout,
        "ignore_unexpected_eof": ignore_unexpected_eof,
    }
    offered = [] if alpn is None else alpn.split(",")
    reporter = None
    recorder = None if export is None else make_recorder(export)
    try:
        direct = options["secure_transport"] == "on"
        reporter = make_reporter(
            output,
            address.text,
            mode.name.lower(),
            handshake_next=direct,
            offered=offered,
            recorder=recorder if mode is Mode.PIPE else None,  # a session tells it itself
        )
        note = say if reporter is None else reporter.note
        if secured:
            ceiling = None if protocol is None else protocol.max_tls
            options["tls"] = _tls_context(
                note,
                cacert=cacert,
                insecure=insecure,
                cert=cert,
                key=key,
                alpn=offered,
                tls_min=tls_min or Version.v1_2,
                tls_max=ceiling or tls_max,
            )
        if mode is Mode.PIPE and protocol is None and tls is Tls.starttls:
            note(CLEAR_TEXT_NOTE)
        if workers and mode is Mode.PIPE:  # a session has its own
            from cfcat.report.verdict import workers_policy  # lazy: most runs may connect to anything

            options["policy"] = workers_policy(note)
        status = _run(
            mode, address.text, options, ends, settings, output, reporter, recorder, protocol=protocol, raw=raw
        )
        if recorder is not None and export is not None and status == ExitStatus.OK:
            save_export(export, recorder.conversations)
        if reporter is not None:
            reporter.finish(None, status)
    except BrokenPipeError as error:
        if reporter is not None:
            reporter.finish(error, 128 + signal.SIGPIPE)
        _die_of_sigpipe()
    except Exception as error:
        raise typer.Exit(_fail(error, address.text, reporter, json=json)) from error
    raise typer.Exit(status)


def _run(
    mode: Mode,
    target: str,
    options: dict[str, Any],
    ends: dict[str, Any],
    settings: dict[str, Any],
    output: OutputOptions,
    reporter: Reporter | None,
    recorder: Recorder | None,
    *,
    protocol: Protocol | None,
    raw: bool,
) -> int:
    from cfcat.core.options import SocketOptions
    from cfcat.pipe.pump import PumpOptions
    from cfcat.program.run import run_in_pipe, run_on_terminal, run_script_file  # lazy: asyncio, 50 ms

    _check_descriptors()
    if mode is Mode.PIPE:
        pump = PumpOptions(**ends)
        return run_in_pipe(target, SocketOptions(**options), pump, protocol=protocol, raw=raw, reporter=reporter)
    from cfcat.repl.settings import Settings  # lazy: it knows the verbs of all protocols

    if mode is Mode.SCRIPT:
        pump, session = PumpOptions(**ends), Settings(**settings)
        return run_script_file(
            target, SocketOptions(**options), pump, session, raw=raw, reporter=reporter, recorder=recorder
        )
    color, session = output.colored(1), Settings(**settings)
    return run_on_terminal(target, SocketOptions(**options), session, color=color, reporter=reporter, recorder=recorder)


def _export_transcript(context: typer.Context, transcript: str, export: str | None) -> None:
    """Raises UsageError: there is anything else to do, or the transcript is of no use; StdoutError."""
    given = {param.name for param in _given(context)}
    _refuse(
        (export is None, "--from needs --export FILE"),
        (given != {"transcript", "export"}, "--from goes with --export FILE and nothing else"),
    )
    from cfcat.export.files import open_transcript  # lazy: an export only

    assert export is not None
    try:
        conversations = open_transcript(transcript)
    except CommandError as error:
        raise UsageError(error.message, error.hint) from error
    save_export(export, lambda: conversations)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; return its exit status."""
    closed = _guard_standard_descriptors()
    json = "--json" in (sys.argv[1:] if arguments is None else arguments)  # for what is wrong with the options
    command = typer.main.get_command(app)
    try:
        if 1 in closed:
            raise StdoutError("standard output is closed")
        status = command.main(arguments, prog_name="cfcat", standalone_mode=False, obj=closed)
        sys.stdout.flush()  # --help and --version are written by Python's own stream
        if not status:
            os.close(os.dup(1))  # some file systems know only in closing that there was no room
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more at its exit
        unwritable = StdoutError("cannot write standard output", reason_of(error))
        return _fail(unwritable, "", json=json)
    except SystemExit:  # the parser's answer to EPIPE, and to nothing else
        _die_of_sigpipe()
    except typer.TyperException as error:  # what the parser has to say of the flags
        return _fail(UsageError(*_usage_problem(error)), "", json=json)
    except SocketError as error:
        return _fail(error, "", json=json)
    return status or ExitStatus.OK


def _guard_standard_descriptors() -> list[int]:
    """Fill closed descriptors 0 to 2 with /dev/null, so that no socket becomes one; returns which were closed."""
    closed = []
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            closed.append(fd)
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number: fd itself
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
    return closed


def _check_descriptors() -> None:
    """Raise OSError where there are too few for an event loop: a half made one complains when it is collected."""
    taken: list[int] = []
    try:
        while len(taken) < LOOP_DESCRIPTORS:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for fd in taken:
            os.close(fd)


def _stdin(closed: list[int]) -> Stdin:
    return Stdin.CLOSED if 0 in closed else Stdin.TERMINAL if os.isatty(0) else Stdin.OTHER


def _refuse(*rules: tuple[bool, str]) -> None:
    for broken, text in rules:
        if broken:
            raise UsageError(text)


def _tls_context(note: Callable[[str], None], *, insecure: bool, **settings: Any) -> ssl.SSLContext:
    from cfcat.core.options import log_keys, make_tls_context  # lazy: ssl, 15 ms

    if insecure:
        note(INSECURE_NOTE)

    def password() -> str:
        from cfcat.edges.password import ask_password  # lazy: an encrypted key only

        return ask_password(f"cfcat: password of {settings['key'] or settings['cert']}: ")

    context = make_tls_context(insecure=insecure, password=password, **settings)
    if problem := log_keys(context):
        note(keys_note(problem))
    return context


def _given(context: typer.Context) -> list[Any]:
    """The parameters that stand on the command line."""
    sources = ((param, context.get_parameter_source(param.name or "")) for param in context.command.params)
    return [param for param, source in sources if source is not None and source.name == "COMMANDLINE"]


def _refuse_other_options(context: typer.Context) -> None:
    """A check connects to nothing: what is about a connection has no meaning there."""
    for param in _given(context):
        if param.name not in WITH_CHECK:
            raise UsageError(f"--check-workers does not connect: {param.opts[-1]} has no meaning there")


def _check_workers(target: Target, family: str | None, timeout_s: float, *, json: bool) -> int:
    from cfcat.program.check import run_check  # lazy: asyncio, 50 ms

    try:
        _check_descriptors()
        return run_check(target, family=family, timeout_s=timeout_s, json=json)
    except Exception as error:
        return _fail(error, target.text)


def _usage_problem(error: typer.TyperException) -> tuple[str, str]:
    text, hint = error.format_message(), "cfcat --help"
    if similar := getattr(error, "possibilities", None):  # of an option that does not exist
        text, hint = error.message, f"{similar[0]}; {hint}"
    return text[:1].lower() + text[1:].rstrip("."), hint


def _fail(error: BaseException, target: str, reporter: Reporter | None = None, *, json: bool = False) -> int:
    if os.environ.get("CFCAT_DEBUG") == "1":
        import traceback

        put("".join(traceback.format_exception(error)))
    message, status = explain(error, target), status_of(error)
    if reporter is None and json:
        reporter = make_reporter(OutputOptions(json=True), target, "pipe")
    if reporter is None:
        put(str(message))
    else:
        reporter.finish(error, status, message)
    return status


def _die_of_sigpipe() -> NoReturn:
    """The reader of stdout is gone: end as a C program would, silently and by the signal."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise SystemExit(128 + signal.SIGPIPE)  # the signal was blocked
