"""From flags to a request: every option in its typed place, and nothing of a parser needed for it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import cfcat
from cfcat.core.address import parse_address
from cfcat.core.choices import SECURE_TRANSPORTS, Shutdown
from cfcat.core.options import SocketOptions
from cfcat.errors import UsageError
from cfcat.pipe.pump import PumpOptions
from cfcat.program.cli import app, parse
from cfcat.program.modes import Mode
from cfcat.program.output import OutputOptions
from cfcat.program.request import CheckRequest, ExportRequest, Request, TlsRequest, plain_request
from cfcat.protocols import PROTOCOLS
from cfcat.repl.settings import SETTINGS, Settings
from cfcat.report.status import ExitStatus
from tests.test_layers import loaded_by, tops

TARGET = "127.0.0.1:9"
PLAIN = Request(TARGET, Mode.PIPE, SocketOptions(connect_timeout=30.0), PumpOptions(), OutputOptions())


def asked(*arguments: str) -> Any:
    """What is asked for where stdin is no terminal."""
    return parse([*arguments, TARGET], closed=[])


def options(**fields: Any) -> dict[str, Any]:
    return {"options": SocketOptions(**{"connect_timeout": 30.0, **fields})}


def tls(*fields: Any, **named: Any) -> dict[str, Any]:
    return {**options(secure_transport="on"), "tls": TlsRequest(*fields, **named)}


def test_without_options() -> None:
    """The defaults of `Request` and of its parts are those of the command line, but for the deadline."""
    assert asked() == PLAIN


def test_who_listens_has_a_deadline_for_handshakes_and_waits_for_a_client_as_long_as_it_is_told() -> None:
    """30 s as for `connect()`; --connect-timeout holds for the wait where it is given."""
    for flags, deadline_s, wait_s in (((), 30.0, None), (("--connect-timeout", "5"), 5.0, 5.0)):
        request = asked("-l", "--tls", "on", *flags)
        assert request.options.connect_timeout == deadline_s
        assert request.listen.to.wait_s == wait_s


@pytest.mark.parametrize(
    "arguments", [["localhost:9"], ["localhost", "9"], ["::1", "9"], ["[::1]:9"], ["localhost:9", "9"], [""]]
)
def test_a_command_line_without_options_is_no_affair_of_the_parser(arguments: list[str]) -> None:
    """And asks for the same as with it, the same refusals included."""
    assert outcome_of(lambda: plain_request(*arguments, closed=[])) == outcome_of(lambda: parse(arguments, closed=[]))


def outcome_of(ask: Callable[[], object]) -> object:
    """The request, or the refusal."""
    try:
        return ask()
    except UsageError as refusal:
        return refusal.message, refusal.hint


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        ("--half-open", {**options(allow_half_open=True), "pump": PumpOptions(half_open=True)}),
        ("--half-open --no-half-open", {}),
        ("-4", options(address_family="ipv4")),
        ("-6", options(address_family="ipv6")),
        ("--connect-timeout 5", options(connect_timeout=5.0)),
        ("-w 5", {"pump": PumpOptions(idle_timeout=5.0)}),
        ("-q 0", {"pump": PumpOptions(quit_after=0.0)}),
        ("-C", {"pump": PumpOptions(crlf=True)}),
        ("--workers", {"workers": True}),
        ("--raw", {"raw": True}),
        ("--pipe", {}),
        ("--tls off", {}),
        ("--tls on", tls()),
        ("--tls starttls", {**tls(), **options(secure_transport="starttls")}),
        ("--tls on --cacert a", tls(cacert="a")),
        ("--tls on -k", tls(insecure=True)),
        ("--tls on --cert a --key b", tls(cert="a", key="b")),
        ("--tls on --alpn h2,http/1.1", tls(alpn=("h2", "http/1.1"))),
        ("--tls on --alpn=", tls(alpn=("",))),
        ("--tls on --tls-min 1.3", tls(tls_min="1.3")),
        ("--tls on --tls-max 1.2", tls(tls_max="1.2")),
        ("--tls on --ciphers AES128-SHA", tls(ciphers="AES128-SHA")),
        ("--tls on --sni a.test", {**tls(), **options(secure_transport="on", expected_server_hostname="a.test")}),
        ("--tls on --ignore-unexpected-eof", {**tls(), **options(secure_transport="on", ignore_unexpected_eof=True)}),
        ("--starttls smtp", {**tls(), **options(secure_transport="starttls"), "protocol": PROTOCOLS["smtp"]}),
        (
            "--starttls mssql --tls-max 1.3",
            {**tls(tls_max="1.2"), **options(secure_transport="starttls"), "protocol": PROTOCOLS["mssql"]},
        ),
        ("-vv", {"output": OutputOptions(verbose=2)}),
        ("-x", {"output": OutputOptions(hexdump=True)}),
        ("--log a --log-secrets", {"output": OutputOptions(log="a", log_secrets=True)}),
        ("--json", {"output": OutputOptions(json=True)}),
        ("--progress", {"output": OutputOptions(progress=True)}),
        ("--color never", {"output": OutputOptions(color="never")}),
        ("--export a", {"export": "a"}),
    ],
)
def test_each_option_has_its_place(flags: str, fields: dict[str, Any]) -> None:
    """And changes nothing else."""
    assert asked(*flags.split()) == PLAIN._replace(**fields)


@pytest.mark.parametrize(
    ("flags", "shutdown"),
    [("--no-shutdown", "never"), ("--shutdown never", "never"), ("--shutdown now", "now"), ("--shutdown auto", "auto")],
)
def test_shutdown(flags: str, shutdown: Shutdown) -> None:
    """It reaches the pump; --no-shutdown is a short word."""
    assert asked(*flags.split()) == PLAIN._replace(pump=PumpOptions(shutdown=shutdown))


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        ("", {}),
        ("--eol lf", {"eol": "lf"}),
        ("--proto imap", {"proto": "imap"}),
        ("--workers", {"workers": "on"}),
        ("--raw", {}),
        ("-x", {}),
        ("--log a --log-secrets", {"log": "a", "log_secrets": True}),
        ("--starttls smtp", {"starttls": "smtp"}),
        ("--tls on -k", {"insecure": True}),
    ],
)
def test_settings_of_a_script(flags: str, fields: dict[str, Any]) -> None:
    """A script has settings; its view is the text, whatever is shown of the bytes."""
    request = asked("--repl", *flags.split())
    assert request.mode is Mode.SCRIPT
    assert request.settings == Settings(**fields)


def test_other_requests() -> None:
    """A check and an export are requests of their own; help and version have been shown."""
    assert asked("--check-workers", "-4", "--json") == CheckRequest(parse_address(TARGET), "ipv4", 30.0, True)
    assert parse(["--from", "a", "--export", "b"], closed=[]) == ExportRequest("a", "b")
    assert parse(["--version"], closed=[]) is ExitStatus.OK


def test_target_in_two_words() -> None:
    """nc's way makes the same request."""
    assert parse(["127.0.0.1", "9"], closed=[]) == PLAIN


def test_values_are_those_of_who_takes_them() -> None:
    """The words of an option are written down for the parser; here they are compared."""
    by_name = {param.name: param for param in typer.main.get_command(app).params}
    assert tuple(getattr(by_name["tls"].type, "choices", ())) == SECURE_TRANSPORTS
    assert tuple(getattr(by_name["eol"].type, "choices", ())) == SETTINGS["eol"]


def test_a_request_needs_no_parser() -> None:
    """`cfcat HOST PORT` has nothing to parse, so a request can be made without Typer."""
    assert "typer" not in tops(loaded_by("from cfcat.program.request import Request"))


@pytest.mark.parametrize("path", sorted((Path(cfcat.__file__).parent / "program").glob("*.py")), ids=lambda p: p.stem)
def test_fields_are_given_by_name(path: Path) -> None:
    """No dictionary is unpacked into options: mypy would not see a misspelt field in it."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert [ast.unparse(call) for call in calls if any(keyword.arg is None for keyword in call.keywords)] == []
