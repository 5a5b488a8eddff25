"""The README's pictures, made of real runs: cfcat on a terminal, before a daemon, and the screen as pyte has read it.

    .venv/bin/python -m tests.pictures

makes them anew beside this file. rich turns a screen into SVG. What differs from run to run stands as in the examples
of the documents: the names of servers, ports, times, the versions of daemons.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.helpers.certs import CertSet
from tests.helpers.program import start
from tests.helpers.terminal import Terminal, terminal
from tests.servers.fleet import Fleet
from tests.servers.mail import PASSWORD, USER

__all__ = ["FOLDER", "PICTURES"]

FOLDER = Path(__file__).parent
# rich's own template fetches a font from a host, which no picture in a README should do.
TEMPLATE = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 16px; font-weight: bold }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
Replacement = tuple[str, str | Callable[[re.Match[str]], str]]


def session(daemon: Fleet, certs: CertSet, folder: Path) -> str:
    """A session with exim, which gets TLS by hand."""
    port = daemon("smtp").port
    given = ("-4", "--tls", "starttls", "--proto", "smtp", f"localhost:{port}")
    said = (
        ("EHLO me.example", "250 HELP"),
        ("STARTTLS", "TLS go ahead"),
        (":starttls", "TLS established"),
        ("HELO me.example", "250 localhost Hello"),
        ("MAIL FROM:<me@me.example>", "250 OK"),
        ("RCPT TO:<you@elsewhere.example>", "550 relay not permitted"),
        (":quiet", "hint: "),
        ("QUIT", "[closed]>"),
    )
    with _running(*given, rows=29, columns=80, certs=certs, folder=folder) as term:
        term.expect_screen("220 ")
        for line, answer in said:
            term.type(f"{line}\r")
            term.expect_screen(answer)
        return _picture(
            term,
            "cfcat --tls starttls mail.example:587",
            (rf"localhost:{port}", "mail.example:587"),
            (rf"\S+:{port}", "192.0.2.7:587"),
            (r"localhost", "mail.example"),
            (r"127\.0\.0\.1", "192.0.2.1"),
            (r"Exim .*", "Exim 4.96 Fri, 27 Nov 2026 15:04:05 +0000"),
            (r"sent \d+, received \d+", "sent 112, received 487"),
        )


def tap(daemon: Fleet, certs: CertSet, folder: Path) -> str:
    """A client of POP3 and dovecot, and a tap between them. Both ends would come in any order: they are not shown."""
    port = daemon("pop3").port
    given = ("-4", "--tap", "0", "--ca-out", "tap-ca.pem", f"localhost:{port}")
    with _running(*given, rows=17, columns=104, certs=certs, folder=folder) as term:
        own = int(term.expect(r"listening on 127.0.0.1:\d+").rpartition(b":")[2])
        client = ("--repl", "--starttls", "pop3", "--cacert", folder / "tap-ca.pem", f"localhost:{own}")
        said = "".join(f"{line}\n:reply ^.OK\n" for line in (f"USER {USER}", f"PASS {PASSWORD}", "STAT"))
        with start(*client, stdin=subprocess.PIPE) as program:
            assert program.stdin is not None
            program.stdin.write(said.encode())
            program.stdin.flush()
            term.expect_screen("+OK 0 0")
        milliseconds = itertools.count(120, 3)
        return _picture(
            term,
            "cfcat --tap 1110 mail.example:110",
            (rf"localhost:{port}", "mail.example:110"),
            (rf"127\.0\.0\.1:{own}", "127.0.0.1:1110"),
            (rf"\S+:{port}", "192.0.2.7:110"),
            (r"for localhost", "for mail.example"),
            (r"from 127\.0\.0\.1:\d+", "from 192.0.2.1:50110"),
            (r"client is 127\.0\.0\.1:\d+", "client is 127.0.0.1:50220"),
            (r"\d+(\.\d+)? (ms|s)\b", "3.2 ms"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lambda _: f"2026-11-27T15:04:05.{next(milliseconds)}Z"),
        )


PICTURES = {"session.svg": session, "tap.svg": tap}


@contextmanager
def _running(*given: str, rows: int, columns: int, certs: CertSet, folder: Path) -> Iterator[Terminal]:
    env = {"SSL_CERT_FILE": str(certs.ca), "CFCAT_HISTORY": ""}
    with terminal(*given, rows=rows, columns=columns, env=env, timeout_s=20, by=["env", "-C", str(folder)]) as term:
        yield term


def _picture(term: Terminal, title: str, *replaced: Replacement) -> str:
    """The screen as SVG, without empty rows below it."""
    rows = [_row(cells, replaced) for cells in term.cells()]
    while not rows[-1].plain:
        rows.pop()
    with open("/dev/null", "w") as nowhere:
        console = Console(
            record=True, width=len(term.cells()[0]), file=nowhere, force_terminal=True, legacy_windows=False
        )
        for row in rows:
            console.print(row, no_wrap=True, overflow="crop", highlight=False)
    return console.export_svg(title=title, code_format=TEMPLATE, unique_id="cfcat")


def _row(cells: Sequence[Char], replaced: Sequence[Replacement]) -> Text:
    shown = [(cell.data, _style(cell)) for cell in cells]
    for pattern, new in replaced:
        for match in reversed(list(re.finditer(pattern, "".join(character for character, _ in shown)))):
            style = shown[match.start()][1]
            text = new(match) if callable(new) else match.expand(new)
            shown[match.start() : match.end()] = [(character, style) for character in text]
    row = Text()
    for style, group in itertools.groupby(shown, lambda one: one[1]):
        row.append("".join(character for character, _ in group), style)
    if not any(cell.reverse for cell in cells):
        row.rstrip()
    return row


def _style(cell: Char) -> Style:
    color = None if cell.fg == "default" else cell.fg
    return Style(color=color, bold=cell.bold or None, dim=cell.blink or None, reverse=cell.reverse or None)
