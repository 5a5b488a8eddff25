"""Who may import whom, and what each part of the program must not load.

Data moves along one line, from the address to the terminal, and a module imports only from rows above it.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.peers import Peer, serve

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "cfcat"

# From the top down. A name stands for a module or for everything in a folder; names in one row do not know each
# other, but for the modules of a folder. A new module gets its line here.
ROWS: tuple[tuple[str, ...], ...] = (
    ("cfcat.errors",),
    ("cfcat.core.address", "cfcat.core.choices", "cfcat.core.spelling"),
    ("cfcat.core.certificate",),
    ("cfcat.proxies",),
    ("cfcat.record.fact", "cfcat.record.words"),
    ("cfcat.record.events", "cfcat.core.workers"),  # what can happen: the core tells it first
    ("cfcat.record.making", "cfcat.record.sides"),
    ("cfcat.record.kept",),
    ("cfcat.record.subscribers",),
    ("cfcat.core.trace",),
    ("cfcat.core.client_hello", "cfcat.core.codec"),
    ("cfcat.core.loop",),
    ("cfcat.core.hangups",),
    ("cfcat.core.watched",),
    ("cfcat.core.route",),
    ("cfcat.core.options", "cfcat.core.context"),
    ("cfcat.core.server_context",),
    ("cfcat.core.lifecycle",),
    ("cfcat.core.tls",),
    ("cfcat.core.promise",),
    ("cfcat.core.job",),
    ("cfcat.core.waiting",),
    ("cfcat.core.resolvers",),
    ("cfcat.core.channel",),
    ("cfcat.core.layers", "cfcat.core.converse"),
    ("cfcat.core.race",),
    ("cfcat.core.dial",),
    ("cfcat.core.proxy", "cfcat.core.unix"),
    ("cfcat.core.listen",),
    ("cfcat.core.streams",),
    ("cfcat.core.writable",),
    ("cfcat.core.piping",),
    ("cfcat.core.reads",),
    ("cfcat.core.gathering",),
    ("cfcat.core.readable",),
    ("cfcat.core.transport",),
    ("cfcat.core.sending",),
    ("cfcat.core.receiving",),
    ("cfcat.core.wire",),
    ("cfcat.core.reacting",),
    ("cfcat.core.opening",),
    ("cfcat.core.sockets",),
    ("cfcat.core.accepting", "cfcat.core.ready"),
    ("cfcat.core.named",),
    ("cfcat.core.clients",),
    ("cfcat.core",),  # the door of the room
    ("cfcat",),  # the public names, each loaded when it is used
    ("cfcat.protocols",),
    ("cfcat.edges.password", "cfcat.edges.descriptors", "cfcat.edges.target", "cfcat.edges.search"),
    ("cfcat.edges.heard",),
    ("cfcat.edges.stderr",),
    ("cfcat.edges.records",),
    ("cfcat.report.render", "cfcat.report.theme"),
    ("cfcat.report.hexdump",),
    ("cfcat.report.color", "cfcat.report.progress"),
    ("cfcat.report.status",),
    ("cfcat.report.hints",),
    ("cfcat.report.notes",),
    ("cfcat.report.messages",),
    ("cfcat.edges.poll_loop", "cfcat.edges.asyncio_loop"),
    ("cfcat.edges.console", "cfcat.edges.stdin", "cfcat.edges.stdout"),
    ("cfcat.edges.terminal",),
    ("cfcat.edges",),
    ("cfcat.record",),  # but for its events
    ("cfcat.report.facts", "cfcat.report.verdict"),
    ("cfcat.report.lines", "cfcat.report.run_report"),
    ("cfcat.report.reporter",),
    ("cfcat.report",),
    ("cfcat.export",),  # what happened, as a program
    ("cfcat.pipe.newlines",),
    ("cfcat.pipe.ending",),
    ("cfcat.pipe.hold",),
    ("cfcat.pipe.flow", "cfcat.pipe.matching"),
    ("cfcat.pipe.pump",),
    ("cfcat.pipe.run",),
    ("cfcat.pipe.ready",),
    ("cfcat.pipe",),
    ("cfcat.tap.hello", "cfcat.tap.display", "cfcat.tap.side"),
    ("cfcat.tap.client", "cfcat.tap.show"),
    ("cfcat.tap.relay", "cfcat.tap.run"),
    ("cfcat.tap",),
    ("cfcat.replaying.hearing",),
    ("cfcat.replaying.player", "cfcat.replaying.reading"),
    ("cfcat.replaying.server",),
    ("cfcat.replaying",),
    ("cfcat.repl",),
    ("cfcat.program.habits",),
    ("cfcat.program.modes", "cfcat.program.values"),
    ("cfcat.program.help",),
    ("cfcat.program.output", "cfcat.program.process"),
    ("cfcat.program.request",),
    ("cfcat.program.tls",),
    ("cfcat.program.proxies",),
    ("cfcat.program.listening",),
    ("cfcat.program.tapping", "cfcat.program.replaying"),
    ("cfcat.program.run", "cfcat.program.check"),
    ("cfcat.program.cli",),
    ("cfcat.program.start",),
    ("cfcat.program",),
    ("cfcat.__main__",),
    ("cfcat.zipped",),
)
FOLDERS = frozenset({"cfcat.protocols", "cfcat.proxies", "cfcat.repl", "cfcat.record", "cfcat.export"})
ROW_OF = {name: number for number, row in enumerate(ROWS) for name in row}

# Modules that only compute: no loop, no socket, no thread, no clock, no terminal.
PURE = (
    "cfcat.errors",
    "cfcat.core.address",
    "cfcat.core.choices",
    "cfcat.core.client_hello",
    "cfcat.core.codec",
    "cfcat.core.lifecycle",
    "cfcat.core.options",
    "cfcat.core.route",
    "cfcat.core.spelling",
    "cfcat.core.certificate",
    "cfcat.core.trace",
    "cfcat.core.workers",
    "cfcat.report.render",
    "cfcat.report.hexdump",
    "cfcat.report.theme",
    "cfcat.protocols.secrets",
    "cfcat.report.color",
    "cfcat.pipe.ending",
    "cfcat.program.habits",
    "cfcat.program.modes",
    "cfcat.record.events",
    "cfcat.record.fact",
    "cfcat.record.kept",
    "cfcat.record.making",
    "cfcat.record.sides",
    "cfcat.record.words",
    "cfcat.export.javascript",
    "cfcat.export.waits",
    "cfcat.repl.settings",
    "cfcat.repl.advice",
    "cfcat.repl.screen.display",
    "cfcat.tap.hello",
)

MOVES_BYTES = "cfcat.protocols.upgrade"  # the one of its room that is not pure
PURE_ONCE_WRITTEN = ("cfcat.protocols", "cfcat.proxies", "cfcat.repl.commands", "cfcat.repl.arguments")
# It knows TLS, and `import ssl` brings sockets with it.
PURE_BUT_SSL = ("cfcat.core.tls",)
IMPURE = frozenset(
    {
        *("asyncio", "socket", "ssl", "_socket", "_ssl", "select", "selectors", "threading", "concurrent", "queue"),
        *("multiprocessing", "subprocess", "signal", "datetime", "termios", "tty", "curses", "readline", "logging"),
    }
)
CLOCKS = frozenset({"time", "datetime", "calendar", "zoneinfo"})


def modules() -> Iterator[tuple[str, Path]]:
    """Each module of the package, and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


ALL = dict(modules())
ALL_PURE = [*PURE, *(name for name in ALL if name.startswith(PURE_ONCE_WRITTEN) and name != MOVES_BYTES)]


def place(module: str) -> str:
    """The name in the table that stands for a module: its own, or that of its folder."""
    if module in ROW_OF:
        return module
    for folder in FOLDERS:
        if module == folder or module.startswith(folder + "."):
            return folder
    return module


def imports(module: str, *, executed: bool = False) -> Iterator[str]:
    """What a module imports, wherever in it; with `executed` without what is for type checkers only."""
    tree = ast.parse(ALL[module].read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if executed and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            # `from cfcat.core import address` is an import of the module, if it is one
            yield from (name if (name := f"{base}.{alias.name}") in ALL else base for alias in node.names)


def run_python(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A fresh interpreter, in which no environment variable but the path changes what is loaded."""
    unwanted = {name for name in os.environ if name.startswith("PYTHON")} - {"PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False, timeout=20, cwd="/")
    assert done.returncode == 0, done.stderr.decode()
    return done


@cache
def loaded_by(statement: str) -> frozenset[str]:
    """The modules that a statement loads in a bare interpreter."""
    code = f"import sys; before = set(sys.modules)\n{statement}\nprint(*sorted(set(sys.modules) - before))"
    return frozenset(run_python("-c", code).stdout.decode().split())


def tops(names: frozenset[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def third_party(names: frozenset[str]) -> set[str]:
    return tops(names) - sys.stdlib_module_names - {"cfcat"}


# ------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("module", ALL)
def test_every_module_has_its_place(module: str) -> None:
    """What is not in the table is not in the plan."""
    assert place(module) in ROW_OF


@pytest.mark.parametrize("module", ALL)
def test_a_module_imports_only_from_above(module: str) -> None:
    """Also inside functions and for type checkers; but the package's own door names everything that is public."""
    here = place(module)
    assert here in ROW_OF, "it has no place in the table"
    for name in imports(module, executed=module == "cfcat"):
        if name.partition(".")[0] != "cfcat":
            continue
        there = place(name)
        assert there in ROW_OF, f"{name} has no place in the table"
        above = ROW_OF[there] < ROW_OF[here] or (here == there and here in FOLDERS)
        assert above, f"{module} imports {name}"


@pytest.mark.parametrize("module", [*ALL_PURE, *PURE_BUT_SSL])
def test_a_pure_module_reads_no_clock(module: str) -> None:
    """`time` is loaded in every interpreter, so this is asked of the source."""
    assert not CLOCKS & {name.partition(".")[0] for name in imports(module)}


def test_the_library_needs_no_other_package() -> None:
    """Core and reports run on the standard library alone."""
    assert third_party(loaded_by("import cfcat.core.sockets, cfcat.report.messages, cfcat.report.status")) == set()


# --------------------------------------------------------------------------------- what gets loaded


@pytest.mark.parametrize("module", ALL_PURE)
def test_a_pure_module_loads_no_machinery(module: str) -> None:
    """Imported in a fresh interpreter: no loop, socket, thread, clock, terminal or other package."""
    loaded = loaded_by(f"import {module}")
    assert tops(loaded) & IMPURE == set()
    assert third_party(loaded) == set()


@pytest.mark.parametrize("module", PURE_BUT_SSL)
def test_a_pure_module_that_knows_tls_loads_no_more_than_ssl(module: str) -> None:
    """What `import ssl` loads is no fault of theirs; nothing else of the machinery is."""
    loaded = loaded_by(f"import {module}") - loaded_by("import ssl")
    assert tops(loaded) & IMPURE == set()
    assert third_party(loaded) == set()


@pytest.mark.parametrize("module", PURE)
def test_ssl_is_for_those_who_know_tls(module: str) -> None:
    """15 ms that no parser of addresses needs."""
    assert "ssl" not in loaded_by(f"import {module}")


def test_import_cfcat_costs_next_to_nothing() -> None:
    """The public names are loaded when they are first used."""
    assert loaded_by("import cfcat") - {"__future__", "typing"} - loaded_by("import typing") == {"cfcat"}


def test_an_exception_is_imported_without_the_core() -> None:
    """Who only wants to catch one does not pay for the event loop."""
    assert tops(loaded_by("from cfcat import SocketError")) & IMPURE == set()


INTERACTIVE = frozenset({"prompt_toolkit", "rich", "pydantic", "pygments", "truststore", "platformdirs"})
REPORTING = (
    "import atexit, sys\n"
    "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    "from cfcat.__main__ import main\n"
    "sys.exit(main())"
)
# What a start pays for: to parse options, or to be a pipe, where there is nothing to parse. A new module here must be
# worth its milliseconds.
TO_PARSE = frozenset(
    {
        *("cfcat", "cfcat.__main__", "cfcat.errors", "cfcat.core", "cfcat.core.address", "cfcat.core.choices"),
        *("cfcat.edges", "cfcat.edges.target"),
        *("cfcat.report", "cfcat.report.color", "cfcat.report.status", "cfcat.program"),
        *(
            f"cfcat.program.{name}"
            for name in ("cli", "help", "modes", "output", "process", "request", "start", "values")
        ),
    }
)
TO_PIPE = (TO_PARSE - {"cfcat.program.cli", "cfcat.program.help", "cfcat.report.color"}) | {
    "cfcat.program.run",
    *(
        f"cfcat.core.{name}"
        for name in (
            "codec",
            "dial",
            "job",
            "lifecycle",
            "loop",
            "opening",
            "options",
            "promise",
            "race",
            "reacting",
            "readable",
            "reads",
            "receiving",
        )
    ),
    *(f"cfcat.core.{name}" for name in ("receiving", "sending", "sockets", "spelling", "streams", "transport")),
    *(f"cfcat.core.{name}" for name in ("waiting", "wire", "writable")),
    *("cfcat.record", "cfcat.record.events", "cfcat.record.fact", "cfcat.record.subscribers", "cfcat.record.words"),
    *("cfcat.edges.descriptors", "cfcat.edges.poll_loop", "cfcat.edges.stdin", "cfcat.edges.stdout", "cfcat.pipe"),
    *(f"cfcat.pipe.{name}" for name in ("ending", "flow", "hold", "newlines", "pump", "run")),
}
# Of the standard library, what takes more than a few milliseconds and is not Typer's own need.
HEAVY = frozenset(
    {
        *("asyncio", "concurrent", "ctypes", "curses", "decimal", "email", "hashlib", "html", "http", "json"),
        *("logging", "multiprocessing", "pydoc", "random", "readline", "sqlite3", "ssl", "statistics", "tempfile"),
        *("unittest", "xml", "zipfile", "zoneinfo"),
    }
)


def of_cfcat(names: frozenset[str]) -> set[str]:
    return {name for name in names if tops(frozenset({name})) == {"cfcat"}}


def test_only_the_line_editor_loads_prompt_toolkit() -> None:
    """130 ms that neither a script nor a terminal without cursor movement needs."""
    loaded = loaded_by("import cfcat.repl.screen.start, cfcat.repl.screen.plain, cfcat.repl.script")
    assert tops(loaded) & INTERACTIVE == set()


def test_the_version_is_told_without_an_event_loop() -> None:
    """asyncio and ssl are imported by the function that starts a mode, not by the parser of the command line."""
    done = run_python("-c", REPORTING, "-V")
    assert done.stdout.startswith(b"cfcat ")
    loaded = frozenset(done.stderr.decode().split())
    assert tops(loaded) & (INTERACTIVE | HEAVY) == set()
    assert of_cfcat(loaded) == TO_PARSE


def pipe(*arguments: str) -> frozenset[str]:
    """The modules that a whole run loads, there and back; SERVER stands for the address of one that echoes."""

    def script(conn: Peer) -> None:
        conn.send(conn.recv_until_eof())

    with serve(script) as server:
        given = [each.replace("SERVER", server.address) for each in arguments]
        done = run_python("-c", REPORTING, *given, stdin=b"ping")
    assert done.stdout == b"ping"
    return frozenset(done.stderr.decode().split())


def test_a_plain_pipe_loads_what_it_uses() -> None:
    """Without options there is nothing to parse: no asyncio, no TLS, no certificate, nobody to be told of events."""
    loaded = pipe("SERVER")
    assert not tops(loaded) & (INTERACTIVE | HEAVY | {"typer"})
    assert of_cfcat(loaded) == TO_PIPE


def test_pipe_mode_loads_nothing_interactive() -> None:
    """With options, too, neither prompt_toolkit nor rich nor pydantic, which cost more than all the rest."""
    loaded = pipe("--tls", "off", "-q", "5", "SERVER")
    assert tops(loaded) & (INTERACTIVE | HEAVY) == set()
    assert of_cfcat(loaded) == TO_PIPE | TO_PARSE
