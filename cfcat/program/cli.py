"""The command line's flags, and what they ask for.

Decides nothing about connections: flags are checked and translated. `start` carries out what comes of it.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from cfcat import __version__
from cfcat.core.address import unix_path
from cfcat.core.choices import AcceptTls, AddressFamily, SecureTransport, Shutdown, TlsVersion
from cfcat.errors import UsageError
from cfcat.program.help import GroupedHelp
from cfcat.program.modes import (
    Mode,
    check_alone,
    check_export,
    check_family,
    check_options,
    check_replay,
    check_tap,
    check_together,
    check_unix,
    choose_mode,
)
from cfcat.program.output import OutputOptions
from cfcat.program.process import kind_of_stdin
from cfcat.program.request import (
    DEFAULT_CONNECT_TIMEOUT_S,
    REPLAY_WAIT_S,
    CheckRequest,
    ExportRequest,
    ListenRequest,
    ProxyRequest,
    ReplayRequest,
    Request,
    TapRequest,
    TlsRequest,
    tap_request,
)
from cfcat.program.values import (
    check_claim,
    check_helo,
    check_listen_target,
    check_name,
    check_pattern,
    check_profile,
    check_protocol,
    check_proxy,
    check_resolve,
    check_source,
    check_target,
    check_variable,
    check_words,
)
from cfcat.report.color import ColorChoice
from cfcat.report.status import ExitStatus

__all__ = ["app", "parse"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

PARSED = Request | CheckRequest | ExportRequest | TapRequest | ReplayRequest

Eol = Literal["crlf", "lf", "cr", "none"]  # those of the session's settings, which are not loaded for this


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


@app.command(
    cls=GroupedHelp,
    # More words than TARGET and PORT are refused by `check_words`, which says what to type.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80, "allow_extra_args": True},
)
def cfcat(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", show_default=False, help="host:port, [2001:db8::7]:port or unix:/path"),
    ] = None,
    port: Annotated[str | None, typer.Argument(metavar="[PORT]", help="for nc's habit: cfcat host 25")] = None,
    half_open: Annotated[
        bool | None,
        typer.Option(
            "--half-open/--no-half-open",
            show_default=False,
            help="Keep sending after the peer's EOF; with -l that is the default, but on a terminal.",
        ),
    ] = None,
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
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Go through a proxy: socks5h://HOST:PORT, or socks5, socks4a, socks4, http, https; env: as the "
            "environment says.",
        ),
    ] = None,
    proxy_cacert: Annotated[
        str | None, typer.Option(metavar="FILE", help="Trust the authorities in FILE for an https proxy.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="[HOST][:PORT]", help="Connect from this address of ours, or from this port.")
    ] = None,
    resolve: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT:ADDR", help="Take this for the address of HOST, or several with commas between."
        ),
    ] = None,
    proxy_protocol: Annotated[
        str | None,
        typer.Option(
            metavar="1[:SRC]", help="Begin with HAProxy's header, 1 or 2, as if coming from SRC; -l: read it."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("-z", "--check", help="Connect, see that it lasts a moment, end: is the server there?")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECS",
            callback=_seconds,
            help="For so long connect again where it fails, or the server ends at once.",
        ),
    ] = None,
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
    shutdown: Annotated[
        Shutdown | None,
        typer.Option(
            show_default=False,
            help="At the end of standard input send ours when that cannot cost the answer, at once, or not at all."
            "  [default: auto]",
        ),
    ] = None,
    no_shutdown: Annotated[bool, typer.Option("--no-shutdown", help="Short for --shutdown never.")] = False,
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
    listen: Annotated[
        bool,
        typer.Option("-l", "--listen", help="Accept a client: PORT on loopback, ADDRESS:PORT, *:PORT, or unix:PATH."),
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With -l: then the next client, until a signal.")] = False,
    client_ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="With -l: clients need a certificate of these authorities.")
    ] = None,
    ca_out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With -l: write the authority of the certificate made for this run."),
    ] = None,
    tap: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Stand between the clients that come here and TARGET, and show what is said, under TLS too.",
        ),
    ] = None,
    accept_tls: Annotated[
        AcceptTls | None,
        typer.Option(
            show_default=False,
            help="With --tap: take TLS from the client when it begins with it, demand it, or let it pass untouched."
            "  [default: auto]",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="With --tap: do not show what is said.")] = False,
    once: Annotated[bool, typer.Option("--once", help="With --tap: end with the first connection.")] = False,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Play the client of a transcript to TARGET, or with -l the server, and compare what comes.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX", help="With --replay: what may differ within a line, such as dates; repeatable."),
    ] = None,
    connection: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="With --replay: which connection of the transcript.  [default: the first]"
        ),
    ] = None,
    tls: Annotated[
        SecureTransport | None,
        typer.Option(help="TLS from the first byte (on), or to be upgraded (starttls).  [default: off]"),
    ] = None,
    starttls: Annotated[
        str | None,
        typer.Option(
            metavar="PROTO",
            help="Run the dialog of PROTO, upgrade to TLS, then begin: {protocols}",
        ),
    ] = None,
    helo: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --starttls smtp or lmtp: who EHLO says we are.")
    ] = None,
    sni: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Server name to send and to verify; with -l one that the certificate has."),
    ] = None,
    cacert: Annotated[
        str | None, typer.Option(metavar="FILE", help="Trust the authorities in FILE, not the system's.")
    ] = None,
    cert: Annotated[str | None, typer.Option(metavar="FILE", help="Our certificate, with its chain.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its key, where that is not in the same FILE.")
    ] = None,
    alpn: Annotated[str | None, typer.Option(metavar="LIST", help="ALPN protocols to offer: h2,http/1.1")] = None,
    tls_min: Annotated[TlsVersion | None, typer.Option(help="Lowest TLS version.  [default: 1.2]")] = None,
    tls_max: Annotated[TlsVersion | None, typer.Option(help="Highest TLS version.")] = None,
    ciphers: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Cipher suites of TLS 1.2, by OpenSSL's names.  [default: DEFAULT]"),
    ] = None,
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
    script: Annotated[
        str | None, typer.Option(metavar="FILE", help="The lines of FILE as a script; standard input is not read.")
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Session: VALUE stands for its NAME in lines, as :set expand on has it."
        ),
    ] = None,
    pipe: Annotated[bool, typer.Option("--pipe", help="Pipe mode, on a terminal too.")] = False,
    crlf: Annotated[bool, typer.Option("-C", "--crlf", help="Pipe mode: send a bare LF as CRLF.")] = False,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX", help="Pipe mode: read standard input when what came matches: a greeting that is late."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Pipe mode: end with 0 when what came matches, else with 1.")
    ] = None,
    eol: Annotated[Eol | None, typer.Option(help="Session: the line ending that Enter sends.  [default: crlf]")] = None,
    proto: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Session: whose verbs Tab completes, and which lines are secrets: auto (by port), none, or "
            "{profiles}.  [default: auto]",
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
    log_secrets: Annotated[
        bool, typer.Option("--log-secrets", help="Do not mask secrets in transcript and events.")
    ] = False,
    pcap: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Capture what goes over the wire in FILE, for Wireshark, with the keys of TLS."
        ),
    ] = None,
    export: Annotated[
        str | None, typer.Option(metavar="FILE", help="At the end write what was done as a Worker that does it again.")
    ] = None,
    transcript: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="With --export alone: from a transcript that --log kept."),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Tell programs what happens and what is said, one JSON object a line; - is stderr."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Report on standard error, at the end, as one JSON object.")
    ] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Show bytes and rate on a terminal.")] = False,
    color: Annotated[ColorChoice, typer.Option(help="Colour on a terminal, always or never.")] = "auto",
    raw: Annotated[bool, typer.Option("--raw", help="On a terminal: pass control characters too.")] = False,
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> Request | CheckRequest | ExportRequest | TapRequest | ReplayRequest:
    """Connect standard input and output to a TCP server, with the socket semantics of Workers' connect().

    On a terminal this is an interactive session. Otherwise the end of standard input is passed on when that cannot cost
    the answer, and the server's end ends the run. Exit status 0 is an end in order.
    """
    given = _given(context)
    check_words([target or "", port or "", *context.args], given)
    if transcript is not None:
        check_export(given)
        assert export is not None
        return ExportRequest(transcript, export)
    if tap is not None:
        check_tap(given)
        check_family(given)
    elif replay is not None:
        check_replay(given)
    if listen:
        address, hosts = check_listen_target(target, port)
    else:
        address = check_target(target, port)
    check_family(given)
    if not listen and unix_path(address.text) is not None:
        check_unix(address.text, given)
    family: AddressFamily | None = "ipv4" if ipv4 else "ipv6" if ipv6 else None
    if check_workers and not listen:
        check_alone(given)
        return CheckRequest(address, family, connect_timeout, json)
    output = OutputOptions(verbose, hexdump, log, log_secrets, json, progress, color, events, pcap)
    offered = () if alpn is None else tuple(alpn.split(","))
    wanted_tls = TlsRequest(cacert, insecure, cert, key, offered, tls_min or "1.2", tls_max)
    if ciphers is not None:
        wanted_tls = wanted_tls._replace(ciphers=ciphers)
    names = tuple(check_name(name) for name in sni or ())
    if len(names) > 1 and not listen:
        raise UsageError("--sni is given more than once: a connection has one server name")
    if source is not None:
        source = check_source(source)
    if proxy_protocol is not None:
        check_claim(proxy_protocol, listens=listen)
    way = None
    if proxy is not None:
        way = ProxyRequest(check_proxy(proxy), proxy_cacert)
        if proxy_cacert is not None and way.proxy is not None and way.proxy.scheme != "https":
            raise UsageError("--proxy-cacert is for an https proxy")
    protocol = None if starttls is None else check_protocol(starttls)
    accepting = None
    if listen:
        from cfcat.core.clients import ListenTo  # lazy: most runs dial

        wait_s = connect_timeout if "--connect-timeout" in given else None
        to = ListenTo(address, hosts, keep, wait_s, reads_header=proxy_protocol is not None)
        accepting = ListenRequest(to, client_ca, ca_out, names)

    from cfcat.core.options import SocketOptions  # lazy: --help and --version need no such thing

    if tap is not None or replay is not None:
        options = SocketOptions(
            allow_half_open=True,
            expected_server_hostname=names[0] if names else None,
            address_family=family,
            connect_timeout=connect_timeout,
            ignore_unexpected_eof=ignore_unexpected_eof,
            source=source,
            resolve=check_resolve(resolve) if resolve else None,
            proxy_protocol=proxy_protocol,
        )
        if replay is not None:
            ignored = tuple(check_pattern("--ignore", each) for each in ignore or ())
            wait_s = idle_timeout or REPLAY_WAIT_S
            return ReplayRequest(
                replay, address, options, wanted_tls, output, ignored, connection, wait_s, accepting, way
            )
        where, hosts = check_listen_target(tap, None, "--tap")
        asked = tap_request(where, hosts, address, options, tls, accept_tls or "auto", protocol)
        return asked._replace(tls=wanted_tls, output=output, ca_out=ca_out, proxy=way, quiet=quiet, once=once)
    stdin = kind_of_stdin(context.obj)
    mode = choose_mode(stdin, os.isatty(1), pipe=pipe, repl=repl, check=check, script=script is not None)
    check_options(mode, given)
    check_together(given)
    if helo is not None:
        check_helo(helo)
    profile = check_profile(proto or "auto")

    from cfcat.pipe.pump import PumpOptions

    if half_open is None:
        half_open = listen and not os.isatty(0)
    secure_transport = tls or "off" if protocol is None else "starttls"
    settings = tls_request = None
    if mode in (Mode.REPL, Mode.SCRIPT):
        from cfcat.repl.settings import Settings  # lazy: it knows the verbs of all protocols

        view = "raw" if raw else "hex" if output.wants_hexdump else "text"
        settings = Settings(
            view=view if mode is Mode.REPL else "text",
            eol=eol or "crlf",
            proto=profile,
            workers="on" if workers else "off",
            starttls=starttls,
            helo=helo,
            insecure=insecure,
            history=not no_history,
            log=log,
            log_secrets=log_secrets,
            expand="on" if var else "off",
        )
    if secure_transport != "off":
        tls_request = wanted_tls if protocol is None else wanted_tls._replace(tls_max=protocol.max_tls or tls_max)
    return Request(
        target=address.text,
        mode=mode,
        options=SocketOptions(
            secure_transport=secure_transport,
            allow_half_open=half_open,
            expected_server_hostname=names[0] if names else None,
            address_family=family,
            connect_timeout=connect_timeout,
            ignore_unexpected_eof=ignore_unexpected_eof,
            source=source,
            proxy_protocol=None if listen else proxy_protocol,
            resolve=check_resolve(resolve) if resolve else None,
        ),
        pump=PumpOptions(
            half_open=half_open,
            shutdown="never" if no_shutdown else shutdown or "auto",
            quit_after=quit_after,
            idle_timeout=idle_timeout,
            crlf=crlf,
            after=None if after is None else check_pattern("--after", after),
            after_s=None if after is None else connect_timeout,
            until=None if until is None else check_pattern("--until", until),
        ),
        output=output,
        settings=settings,
        tls=tls_request,
        protocol=protocol,
        helo=helo,
        export=export,
        workers=workers,
        raw=raw,
        listen=accepting,
        proxy=way,
        wait_s=wait,
        script=script,
        variables=dict(map(check_variable, var or ())),
    )


def _given(context: typer.Context) -> list[str]:
    """What stands on the command line, in the order of its declaration: the names of each parameter, the long one
    first, and, for an option with a fixed list of values, also the name with its value: "--tls", "--tls on"."""
    names: list[str] = []
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        names += reversed(param.opts)
        value = context.params[param.name or ""]
        if hasattr(param.type, "choices") or param.name == "starttls" or (param.name == "events" and value == "-"):
            names.append(f"{param.opts[-1]} {value}")
    return names


def parse(
    arguments: list[str] | None, closed: list[int]
) -> Request | CheckRequest | ExportRequest | TapRequest | ReplayRequest | ExitStatus:
    """What the arguments ask for; a status where it was --help or --version, which have been shown.

    `closed`: which of the descriptors 0 to 2 are not there.

    Raises:
        UsageError: they make no sense.
        OSError, SystemExit: stdout could not be written; EPIPE is the latter.
    """
    command = typer.main.get_command(app)
    try:
        asked: Any = command.main(arguments, prog_name="cfcat", complete_var="", standalone_mode=False, obj=closed)
    except typer.TyperException as error:  # what the parser has to say of the flags
        raise UsageError(*_usage_problem(error, arguments or sys.argv[1:])) from error
    return asked if isinstance(asked, PARSED) else ExitStatus(asked)


def _usage_problem(error: typer.TyperException, arguments: Sequence[str]) -> tuple[str, str]:
    from cfcat.program.habits import habit_among  # lazy: a mistake only

    unknown = getattr(error, "option_name", "")
    if habit := habit_among(arguments, unknown):
        return f"no such option: {habit[0]}", habit[1]
    # All numbers with a fraction are seconds.
    text = error.format_message().replace("is not a valid float", "is no number of seconds")
    hint = "cfcat --help"
    if similar := getattr(error, "possibilities", None):  # of an option that does not exist
        text, hint = error.message, f"{similar[0]}; {hint}"
    return text[:1].lower() + text[1:].rstrip("."), hint
