"""The command line: flags to (address, options, mode), a run, its exit status.

Decides nothing about connections: flags are checked and translated, everything else is the core's. Library code
raises; here it is printed, in one line.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cfcat import __version__
from cfcat.core.address import Target, parse_address
from cfcat.errors import AddressError, SocketError, StdoutError, UsageError
from cfcat.report.messages import Message, explain, explain_address
from cfcat.report.render import TerminalFilter, escape
from cfcat.report.status import ExitStatus, status_of

if TYPE_CHECKING:
    import ssl

    from cfcat.starttls import Protocol

__all__ = ["app", "run"]

# 30 s covers four SYN retransmissions on Linux (at 1, 3, 7 and 15 s). nc: none; curl: 300 s.
DEFAULT_CONNECT_TIMEOUT_S = 30.0

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Tls(StrEnum):
    off = "off"
    on = "on"
    starttls = "starttls"


class Version(StrEnum):
    v1_2 = "1.2"
    v1_3 = "1.3"


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


@app.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
def cfcat(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="host:port, 192.0.2.7:port or [2001:db8::7]:port")],
    port: Annotated[str | None, typer.Argument(metavar="[PORT]", help="for nc's habit: cfcat host 25")] = None,
    half_open: Annotated[
        bool, typer.Option("--half-open/--no-half-open", help="Keep sending after the server's EOF.")
    ] = False,
    ipv4: Annotated[bool, typer.Option("-4", help="Use IPv4 addresses only.")] = False,
    ipv6: Annotated[bool, typer.Option("-6", help="Use IPv6 addresses only.")] = False,
    connect_timeout: Annotated[
        float,
        typer.Option(metavar="SECS", callback=_seconds, help="Deadline for resolving, connecting and TLS handshake."),
    ] = DEFAULT_CONNECT_TIMEOUT_S,
    idle_timeout: Annotated[
        float | None,
        typer.Option("-w", "--idle-timeout", metavar="SECS", callback=_seconds, help="End when nothing moves so long."),
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
            help="After the end of standard input wait at most so long.",
        ),
    ] = None,
    tls: Annotated[
        Tls | None, typer.Option(help="TLS from the first byte (on), or to be upgraded (starttls).  [default: off]")
    ] = None,
    starttls: Annotated[
        str | None, typer.Option(metavar="PROTO", help="Upgrade to TLS by the dialog of PROTO: smtp, imap, ldap, ...")
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
        bool, typer.Option("--ignore-unexpected-eof", help="Accept a TLS stream without close_notify.")
    ] = False,
    insecure: Annotated[bool, typer.Option("-k", "--insecure", help="Do not verify the server's certificate.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="On a terminal: pass control characters too.")] = False,
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Connect standard input and output to a TCP server, with the socket semantics of Workers' connect().

    The end of standard input is passed on; the server's end ends the run. Exit status 0 is an end in order.
    """
    address = _target(target, port)
    protocol = None if starttls is None else _protocol(starttls)
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
        (ipv4 and ipv6, "-4 and -6 exclude each other"),
        *((given and not secured, f"{option} needs --tls on") for option, given in only_with_tls.items()),
        (key is not None and cert is None, "--key needs --cert"),
        (insecure and cacert is not None, "-k and --cacert exclude each other"),
        (sni == "", "--sni needs a name"),
        (sni is not None and not _is_name(sni), f"--sni: '{escape(sni or '')}' is not a host name"),
    )
    ends = {
        "half_open": half_open,
        "no_shutdown": no_shutdown,
        "quit_after": quit_after,
        "idle_timeout": idle_timeout,
    }
    options: dict[str, Any] = {
        "secure_transport": "starttls" if protocol is not None else (tls or Tls.off).value,
        "allow_half_open": half_open,
        "expected_server_hostname": sni,
        "address_family": "ipv4" if ipv4 else "ipv6" if ipv6 else None,
        "connect_timeout": connect_timeout,
        "ignore_unexpected_eof": ignore_unexpected_eof,
    }
    try:
        if secured:
            ceiling = None if protocol is None else protocol.max_tls
            options["tls"] = _tls_context(
                cacert=cacert,
                insecure=insecure,
                cert=cert,
                key=key,
                alpn=[] if alpn is None else alpn.split(","),
                tls_min=tls_min or Version.v1_2,
                tls_max=ceiling or tls_max,
            )
        if protocol is None and tls is Tls.starttls:
            _say("note: --tls starttls stays in clear text here; --starttls PROTO upgrades")
        _pipe(address.text, options, ends, protocol=protocol, raw=raw)
    except BrokenPipeError:
        _die_of_sigpipe()
    except Exception as error:
        raise typer.Exit(_fail(error, address.text)) from error


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; return its exit status."""
    stdout_open = _guard_standard_descriptors()
    command = typer.main.get_command(app)
    try:
        if not stdout_open:
            raise StdoutError("standard output is closed")
        status = command.main(arguments, prog_name="cfcat", standalone_mode=False)
        sys.stdout.flush()  # --help and --version are written by Python's own stream
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more at its exit
        return _fail(StdoutError("cannot write standard output", (error.strerror or str(error)).lower()), "")
    except SystemExit:  # the parser's answer to EPIPE, and to nothing else
        _die_of_sigpipe()
    except typer.TyperException as error:  # what the parser has to say of the flags
        return _fail(UsageError(*_usage_problem(error)), "")
    except SocketError as error:
        return _fail(error, "")
    return status or ExitStatus.OK


def _guard_standard_descriptors() -> bool:
    """Fill closed descriptors 0 to 2 with /dev/null, so that no socket becomes one; False: stdout was closed."""
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
    return 1 not in closed


def _target(target: str, port: str | None) -> Target:
    """`host:port` or, nc's way, `host port`; port 0 is for the library (A11)."""
    text = target if port is None else f"{target}:{port}"
    try:
        if port is not None and _has_port(target):
            raise UsageError(f"two ports given: '{escape(target)}' and '{escape(port)}'", f"cfcat {escape(target)}")
        address = parse_address(text)
        if address.port == 0:
            raise AddressError("port 0")
    except AddressError as error:
        raise UsageError(*explain_address(text, error)) from error
    return address


def _has_port(text: str) -> bool:
    try:
        parse_address(text)
    except AddressError:
        return False
    return True


def _is_name(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _refuse(*rules: tuple[bool, str]) -> None:
    for broken, text in rules:
        if broken:
            raise UsageError(text)


def _protocol(name: str) -> Protocol:
    from cfcat.starttls import PROTOCOLS  # lazy: most runs have no dialog

    if name not in PROTOCOLS:
        raise UsageError(f"--starttls: '{escape(name)}' is not known", f"one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _tls_context(*, insecure: bool, **settings: Any) -> ssl.SSLContext:
    from cfcat.core.options import log_keys, make_tls_context  # lazy: ssl, 15 ms

    if insecure:
        _say("warning: the certificate is not checked (-k): anyone can be at the other end")

    def password() -> str:
        from cfcat.password import ask_password  # lazy: an encrypted key only

        return ask_password(f"cfcat: password of {settings['key'] or settings['cert']}: ")

    context = make_tls_context(insecure=insecure, password=password, **settings)
    if problem := log_keys(context):
        _say(f"warning: {escape(problem)}: keys are not logged")
    return context


def _pipe(target: str, options: dict[str, Any], ends: dict[str, Any], *, protocol: Protocol | None, raw: bool) -> None:
    import asyncio  # lazy: 50 ms

    from cfcat.core.options import SocketOptions
    from cfcat.pipe.pump import PumpOptions
    from cfcat.pipe.run import run_pipe

    shown = TerminalFilter() if os.isatty(1) and not raw else None
    try:
        run = run_pipe(target, SocketOptions(**options), PumpOptions(**ends), protocol=protocol, shown=shown)
        asyncio.run(run)
    finally:
        if shown is not None and shown.escaped:
            characters = "character" if shown.escaped == 1 else "characters"
            _say(f"{shown.escaped} control {characters} shown escaped; --raw passes them")


def _usage_problem(error: typer.TyperException) -> tuple[str, str]:
    text = error.format_message()
    if text.startswith("Missing argument 'TARGET'"):
        return "no target given", "cfcat HOST:PORT, or cfcat --help"
    return text[:1].lower() + text[1:].rstrip("."), "cfcat --help"


def _fail(error: BaseException, target: str) -> int:
    if os.environ.get("CFCAT_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    _print(str(explain(error, target)))
    return status_of(error)


def _say(text: str) -> None:
    _print(str(Message(text)))


def _print(text: str) -> None:
    # Straight to the descriptor: closed or full, stderr changes nothing of the result.
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))


def _die_of_sigpipe() -> NoReturn:
    """The reader of stdout is gone: end as a C program would, silently and by the signal."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise SystemExit(128 + signal.SIGPIPE)  # the signal was blocked
