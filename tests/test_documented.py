"""What is written in more than one place: options, values, commands, statuses, environment; in both directions.

The code is asked by way of Typer's own command; help, manual and completions are read as they are. What of them
`python -m tests.documents` makes is compared with what it would make now. The README repeats no table of the manual.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import cfcat
from cfcat.core.options import SocketOptions
from cfcat.program.help import GROUPS, MORE
from cfcat.program.request import DEFAULT_CONNECT_TIMEOUT_S
from cfcat.protocols import PROFILES, PROTOCOLS, TABLE
from cfcat.protocols.dialog import MAX_MESSAGE_BYTES
from cfcat.protocols.dialog_run import MAX_DIALOG_BYTES
from cfcat.repl.commands import COMMANDS, help_lines
from cfcat.report.status import ExitStatus
from tests.conformance.inbound.scenario import INBOUND, load_inbound
from tests.conformance.scenario import SCENARIOS, load_folder
from tests.documents.examples import MANUAL, PAGES, README
from tests.documents.files import FILES, made
from tests.documents.flags import params
from tests.helpers import program
from tests.helpers.installed import demand

pytestmark = pytest.mark.one_python

PROJECT = Path(__file__).parents[1]
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text()
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text()
BASH = (PROJECT / "completions" / "cfcat.bash").read_text()
ZSH = (PROJECT / "completions" / "_cfcat").read_text()
FISH = (PROJECT / "completions" / "cfcat.fish").read_text()

SECTIONS = [
    *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES"),
    *("COMING FROM OTHER TOOLS", "SEE ALSO", "SECURITY"),
]
# Each page begins so: the day and the version are the changelog's.
HEAD = ".Dd {month} {day}, {year}\n.Dt {title} {section}\n.Os cfcat {version}\n.Sh NAME\n.Nm {name}\n.Nd "
# Read by others for us: OpenSSL, platformdirs.
READ_BY_LIBRARIES = {"SSL_CERT_DIR", "XDG_STATE_HOME"}
READ_AS_CURL_DOES = {"ALL_PROXY", "HTTPS_PROXY", "NO_PROXY"}  # by `proxies.environment`, in small letters too
OPTION = r"(?<![\w-])(--[a-z][a-z-]*|-[A-Za-z0-9])(?![\w-])"

Values = dict[str, set[str]]  # by option; without those that take a file, a number or nothing

# Where a newcomer's question must be answered, by a word of the question.
ASKED = (
    *("tried before the next", "our EOF", "status 18", "secret recognised", "kind of proxy", "add a command"),
    *("add a protocol", "kind of listener", "Unix socket", "format of output", "avoid asyncio", "client's ClientHello"),
    "certificate's message",
)

# ------------------------------------------------------------------------------------------- the program


def coded_options() -> set[str]:
    found: set[str] = set()
    for param in params():
        names = {*getattr(param, "opts", ()), *getattr(param, "secondary_opts", ())}
        found |= {name for name in names if name.startswith("-")}
    return found


def coded_values() -> Values:
    found: Values = {"--starttls": set(PROTOCOLS), "--proto": {"auto", *PROFILES}}
    for param in params():
        choices = getattr(getattr(param, "type", None), "choices", None)
        if choices is not None:
            found[getattr(param, "opts", [""])[-1]] = {str(getattr(choice, "value", choice)) for choice in choices}
    return found


@cache
def shown_help() -> str:
    return program.cfcat("--help", "all").stdout.decode()


def help_groups() -> dict[str, str]:
    """The sections of --help, by title."""
    titles = [*GROUPS.values(), "Examples"]
    return {
        title: shown_help().partition(f"\n{title}:\n")[2].partition(f"\n{after}:\n")[0]
        for title, after in itertools.pairwise(titles)
    }


def help_options() -> set[str]:
    """What stands at the beginning of a row."""
    rows = re.findall(r"^  (-.*?)(?:  |$)", "\n".join(help_groups().values()), re.MULTILINE)
    return set(re.findall(OPTION, " ".join(rows)))


def help_values() -> Values:
    text = " ".join(" ".join(help_groups().values()).split())
    found = {option: set(values.split("|")) for option, values in re.findall(OPTION + r" <([^>]*)>", text)}
    for option, before in (("--starttls", "then begin: "), ("--proto", "are secrets: ")):
        words = re.split(r" --|\.", text.partition(f" {option} ")[2].partition(before)[2])[0]  # up to the next option
        found[option] = set(re.findall(r"[a-z][a-z0-9-]+", words)) - {"by", "port", "or"}
    return found


# --------------------------------------------------------------------------------------------- the manual


def manual_section(title: str, page: str = "cfcat.1") -> str:
    return PAGES[page].partition(f"\n.Sh {title}\n")[2].partition("\n.Sh ")[0]


def manual_items(title: str, page: str = "cfcat.1") -> Iterator[tuple[str, str]]:
    """Head and body of each item of the lists in a section."""
    for item in re.split(r"^\.It ", manual_section(title, page), flags=re.MULTILINE)[1:]:
        head, _, body = item.partition("\n")
        yield head, re.split(r"^\.(?:El|Ss)", body, flags=re.MULTILINE)[0]


def manual_names(head: str) -> list[str]:
    return ["-" + name for name in re.findall(r"Fl (-?[\w-]+)", head)]


def manual_options() -> set[str]:
    return {name for head, _ in manual_items("OPTIONS") for name in manual_names(head)}


def manual_values() -> Values:
    found: Values = {}
    for head, body in manual_items("OPTIONS"):
        option = manual_names(head)[-1]
        if "Cm" in head:
            found[option] = set(head.partition("Cm ")[2].split(" | "))
        elif option in ("--starttls", "--proto"):
            lines = re.findall(r"^\.Cm (.*)$", body, re.MULTILINE)
            found[option] = {word for line in lines for word in re.findall(r"[a-z][a-z0-9-]+", line)}
    return found


def manual_commands() -> set[str]:
    """As their usage is written in the code, in small letters."""
    found: set[str] = set()
    for head, _ in manual_items("COMMANDS", "cfcat-session.1"):
        text = re.sub(r"Oo (.*?) Oc", r"[\1]", head)
        text = re.sub(r"Op (.*)$", r"[\1]", text).replace("Ar name Ar value", "name value")
        text = re.sub(r"\b(?:Ic|Ar|Cm) ", "", text).replace("Fl ", "-").replace(" | ", "|")
        found |= {part.strip() for part in text.split(" , ")}
    return found


# -------------------------------------------------------------------------------------------- completions


def bash_options() -> set[str]:
    (words,) = re.findall(r"-W '(--half-open.*?)'", BASH, re.DOTALL)
    return set(words.split())


def bash_values() -> Values:
    cases = re.findall(r"^        (--[^)]*)\)\n\s*COMPREPLY=\(\$\(compgen -W '(.*?)'", BASH, re.MULTILINE | re.DOTALL)
    return {option: set(words.split()) for options, words in cases for option in options.split(" | ")}


def bash_taking_values() -> set[str]:
    """In the two lists: what is completed behind them, and what is no target."""
    cases = re.findall(r"^ +((?:-[\w-]+[ |\\\n]*)+)\)$", BASH, re.MULTILINE)
    *completed, listed = (set(re.findall(OPTION, case)) for case in cases)
    assert set().union(*completed) == listed
    return listed


def zsh_options() -> set[str]:
    """What stands before the explanation in brackets; in braces there are two."""
    specs = re.findall(r"^  ('.*?)\[", ZSH, re.MULTILINE)
    return {
        name
        for spec in specs
        for name in re.findall(OPTION, re.sub(r"\([^)]*\)", " ", spec).replace("=", " ").replace("+", " "))
    }


def zsh_values() -> Values:
    rows = re.findall(r"^  '(?:\([^)]*\))?(--[a-z-]+)=.*:\(([^)]*)\)'", ZSH, re.MULTILINE)
    return {option: set(words.split()) for option, words in rows}


def zsh_taking_values() -> set[str]:
    return set(re.findall(r"(--?[A-Za-z-]+)[=+]", ZSH.partition("options=(")[2]))


def fish_rows() -> Iterator[tuple[set[str], str]]:
    for row in re.findall(r"^complete -c cfcat (-[sl] .*)$", FISH, re.MULTILINE):
        names, _, rest = row.partition(" -d ")
        yield (
            {f"-{name}" for name in re.findall(r"-s (\w)", names)}
            | {f"--{name}" for name in re.findall(r"-l ([a-z-]+)", names)},
            names + rest,
        )


def fish_options() -> set[str]:
    return {name for names, _ in fish_rows() for name in names}


def fish_values() -> Values:
    rows = ((names, re.findall(r"-a '([^(']*)'", row)) for names, row in fish_rows())
    return {max(names, key=len): set(words[0].split()) for names, words in rows if words}


def fish_taking_values() -> set[str]:
    taking = {name for names, row in fish_rows() for name in names if re.search(r" -[xr]\b", row)}
    (listed,) = re.findall(r"set -l valued (.*?[^\\])\n", FISH, re.DOTALL)
    assert set(re.findall(OPTION, listed)) == taking
    return taking


# ------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("name", FILES)
def test_document_is_what_the_command_makes(name: str) -> None:
    """Flags and rows have not changed since `python -m tests.documents`, nor has anybody written between its marks."""
    assert made()[PROJECT / name] == (PROJECT / name).read_text(), "python -m tests.documents makes it anew"


@pytest.mark.parametrize("place", [help_options, manual_options, bash_options, zsh_options, fish_options])
def test_options(place: Callable[[], set[str]]) -> None:
    """Every option in every place, and no other."""
    assert place() == coded_options()


@pytest.mark.parametrize("place", [help_values, manual_values, bash_values, zsh_values, fish_values])
def test_values(place: Callable[[], Values]) -> None:
    """Every value of those that have few."""
    assert place() == coded_values()


@pytest.mark.parametrize("place", [bash_taking_values, zsh_taking_values, fish_taking_values])
def test_which_options_take_a_value(place: Callable[[], set[str]]) -> None:
    """Or the next word would be taken for the target."""
    expected = {
        name
        for param in params()
        if not getattr(param, "is_flag", True) and not getattr(param, "count", False)
        for name in getattr(param, "opts", ())
    }
    assert place() == expected


def test_groups() -> None:
    """Help and manual have the same options under the same headings."""
    in_help = {
        title: set(re.findall(r"^  (-\S+?)[, ]", text + "\n", re.MULTILINE)) for title, text in help_groups().items()
    }
    in_manual: dict[str, set[str]] = {}
    for part in re.split(r"^\.Ss ", manual_section("OPTIONS"), flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        in_manual[title] = {manual_names(head)[0] for head in re.findall(r"^\.It (.*)$", text, re.MULTILINE)}
    assert in_help == in_manual
    assert list(in_help) == list(in_manual)


def test_default_of_the_deadline() -> None:
    """Typer would write 30.0, so it is written by hand."""
    seconds = f"{DEFAULT_CONNECT_TIMEOUT_S:g}"
    assert f"[default: {seconds}]" in help_groups()["Connection"]
    assert f"The default is {seconds} seconds." in manual_section("OPTIONS")


def test_commands() -> None:
    """Every command with its arguments; `:help` is made of the same table."""
    usages = {command.usage.lower() for command in COMMANDS.values()}
    assert manual_commands() == usages
    assert usages <= {re.split(r"  +", line)[0].lower() for line in help_lines()}


def test_statuses() -> None:
    """In help and manual; and what a signal makes of it."""
    expected = {*(str(status.value) for status in ExitStatus), "128+n"}
    table = MORE.partition("Exit status:\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"(?:^|  ) *(\d+(?:\+n)?)  (?=\S)", table, re.MULTILINE)) == expected
    assert {head for head, _ in manual_items("EXIT STATUS")} == expected


def environment_variables() -> set[str]:
    """What the code asks the environment for, by name."""
    found = READ_BY_LIBRARIES | READ_AS_CURL_DOES
    for path in sorted((PROJECT / "cfcat").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case (
                    ast.Call(func=ast.Attribute(value=asked), args=[ast.Constant(value=str(name)), *_])
                    | ast.Subscript(value=asked, slice=ast.Constant(value=str(name)))
                ) if ast.unparse(asked) in ("os.environ", "environment"):
                    found.add(name)
                case ast.Call(func=ast.Attribute(attr="getenv")):
                    raise AssertionError(f"{path}: os.environ is asked here")
    return found


def test_environment() -> None:
    """In help and manual: what the code asks for."""
    expected = environment_variables()
    table = MORE.partition("Environment:\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"\b[A-Z][A-Z_]+\b", table)) - {"TLS"} == expected
    heads = " ".join(head for head, _ in manual_items("ENVIRONMENT"))
    assert set(re.findall(r"\b[A-Z][A-Z_]+\b", heads)) == expected


def test_options_of_connect() -> None:
    """The library's page has every field, and no flag that there is not."""
    items = list(manual_items("OPTIONS", "cfcat.3"))
    assert set(SocketOptions._fields) <= set(re.findall(r"[a-z_]+", " ".join(head for head, _ in items)))
    lines = [line for _, body in items for line in body.splitlines() if line.startswith(".Fl ")]
    flags = {"-" + word for line in lines for word in line.removeprefix(".Fl ").split() if re.match(r"[-\w]", word)}
    assert flags <= coded_options()


def test_public_names() -> None:
    """Every one is a word of the library's page."""
    words = set(re.findall(r"\w+", PAGES["cfcat.3"]))
    assert {name for name in cfcat.__all__ if name not in words} == {"__version__"}


def test_ports_that_are_completed() -> None:
    """The same in the three shells, those of the protocols of --starttls among them."""
    lists = []
    for source, begin in ((BASH, "local ports='"), (ZSH, ": ports\n"), (FISH, "set -l ports ")):
        words = re.match(r"[\d\s\\]+", source.partition(begin)[2])
        assert words is not None
        lists.append(words[0].replace("\\", "").split())
    assert lists[0] == lists[1] == lists[2] == sorted(lists[0], key=int)
    assert {str(protocol.port) for protocol in PROTOCOLS.values()} <= set(lists[0])


# ---------------------------------------------------------------------------------- manual and changelog


def test_sections_of_the_manual() -> None:
    assert re.findall(r"^\.Sh (.*)$", MANUAL, re.MULTILINE) == SECTIONS


def rows_below(head: str) -> Iterator[list[str]]:
    """The cells of a table of CONTRIBUTING.md."""
    for line in CONTRIBUTING.partition(f"| {head} |")[2].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def file_of(path: str, folder: str = "") -> Path:
    """The file or folder that a path of CONTRIBUTING.md means."""
    begins = (PROJECT / "cfcat" / folder, PROJECT)
    found = [begin / path for begin in begins if (begin / path).exists()]
    assert found, f"{path} does not exist"
    return found[0]


def names_in(path: Path) -> set[str]:
    """What a module defines: functions, classes, names and attributes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def test_where_to_look_first_is_true() -> None:
    """Each answer begins with a path; a name stands behind the file that defines it."""
    for question, answer in rows_below("question | file (`cfcat/`)"):
        words = re.findall(r"`([^`]+)`", answer)
        file = file_of(words[0])
        for word in words:
            if "/" in word or word.endswith(".py"):
                file = file_of(word)
            elif not word.startswith("-"):
                assert word.removesuffix("()") in names_in(file), f"{question}: {word} is not in {file.name}"


@pytest.mark.parametrize("asked", ASKED)
def test_what_a_newcomer_asks_is_answered(asked: str) -> None:
    """With one path to look at first."""
    (answer,) = (answer for question, answer in rows_below("question | file (`cfcat/`)") if asked in question)
    assert answer.startswith("`")


def test_places_of_the_code_are_all_there() -> None:
    """Each room of the package has its row, and the files that a row names are in the room."""
    rooms = set()
    for place, what in rows_below("place (`cfcat/`) | what it is"):
        place = place.strip("`")
        rooms.add(place.rstrip("/"))
        file_of(place)
        for word in re.findall(r"`([\w/]+(?:\.py|/))`", what):
            file_of(word, place)
    packages = {path.name for path in (PROJECT / "cfcat").iterdir() if (path / "__init__.py").exists()}
    assert packages <= rooms


def test_paths_of_contributing_exist() -> None:
    """Wherever it names one with its folder."""
    for path in re.findall(r"`((?:cfcat|tests|man)/[\w./]+)`", CONTRIBUTING):
        file_of(path)


def test_changelog_has_a_form() -> None:
    """Versions from the newest to the oldest, each with its day; changes that have no version yet stand above."""
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    if headings[0] == "Unreleased":
        headings.pop(0)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading) for heading in headings)
    days = [heading.partition(" - ")[2] for heading in headings]
    assert days == sorted(days, reverse=True)
    kinds = re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Fixed", "Removed", "Security"}


@pytest.mark.parametrize("page", PAGES)
def test_version_and_day_are_those_of_the_changelog(page: str) -> None:
    """Of its newest release, in the package and at the head of each page; no clock is asked."""
    match = re.search(r"^## (\d\S+) - (\d+)-(\d+)-(\d+)$", CHANGELOG, re.MULTILINE)
    assert match is not None
    version, year, month, day = match.groups()
    assert version == cfcat.__version__
    months = "January February March April May June July August September October November December".split()
    name, _, section = page.partition(".")
    begins = HEAD.format(
        **{"month": months[int(month) - 1], "day": int(day), "year": year, "version": version},
        **{"title": name.upper(), "section": section, "name": name},
    )
    assert PAGES[page].startswith(begins)


@pytest.mark.parametrize("page", PAGES)
def test_manual_is_in_order(page: str) -> None:
    """mandoc finds nothing to complain of."""
    lint = subprocess.run(
        [demand("mandoc"), "-T", "lint", "-W", "warning", PROJECT / "man" / page],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (lint.stdout, lint.stderr, lint.returncode) == ("", "", 0)


def titles_in(page: str) -> set[str]:
    return set(re.findall(r"^\.S[hs] (.*)$", page, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_references_of_the_manual(page: str) -> None:
    """To sections of the same page, and to pages that there are; the command's page and the README name all of them."""
    text = PAGES[page]
    assert set(re.findall(r"^\.Sx (.*?)(?: [.,;)]+)*$", text, re.MULTILINE)) <= titles_in(text)
    referred = {f"{name}.{section}" for name, section in re.findall(r"^\.Xr (cfcat\S*) (\d)", text, re.MULTILINE)}
    assert referred <= PAGES.keys()
    assert page not in referred
    name, _, section = page.partition(".")
    assert page == "cfcat.1" or f".Xr {name} {section}" in MANUAL.partition(".Sh SEE ALSO")[2]
    assert f"{name}({section})" in README


def flags_of(page: str) -> Iterator[str]:
    """What is shown as a flag: each word behind the macro `Fl`, up to the next macro."""
    for line in page.splitlines():
        is_flag = False
        for word in line.removeprefix(".").split() if line.startswith(".") else ():
            if re.fullmatch(r"[A-Z][a-z]", word):
                is_flag = word == "Fl"
            elif is_flag and re.match(r"[\w-]", word):
                yield f"-{word}"


@pytest.mark.parametrize("page", PAGES)
def test_flags_of_the_manual_exist(page: str) -> None:
    """Of the program, or of a command; no other word is shown as one."""
    of_commands = re.findall(OPTION, " ".join(command.usage for command in COMMANDS.values()))
    assert set(flags_of(PAGES[page])) <= coded_options() | {"-vv", "-vvv", *of_commands}


@pytest.mark.parametrize("page", PAGES)
def test_words_of_heads_are_no_macros(page: str) -> None:
    """mandoc says nothing of `.It An end`, and shows "end"."""
    heads = re.findall(r"^\.(?:It|S[hs]|Nd) .*$", PAGES[page], re.MULTILINE)
    assert not [head for head in heads if re.search(r" (?:Ad|An|At|Do|Er|Ex|In|Lb|Me|Or|So|St|Va)\b", head)]


def test_figures_of_the_security_page() -> None:
    """Those that can be counted here: rows of the fault matrix, scenarios, protocols, bounds; in the README too."""
    text = " ".join(PAGES["cfcat-security.7"].split())
    rows = len(re.findall(r"^- \*\*row \d+\*\*", (PROJECT / "cfcat" / "RULES.md").read_text(), re.MULTILINE))
    dialed, accepted = len(load_folder(SCENARIOS)), len(load_inbound(INBOUND))
    assert f"{rows} rows say" in text
    assert f"{dialed + accepted} scenarios, {dialed} dialed and {accepted} accepted" in text
    assert f"Each of the {len(PROTOCOLS)} STARTTLS dialogs" in text
    assert f"rules of {sum(bool(row.secrets) for row in TABLE)} protocols" in text
    assert f"{MAX_MESSAGE_BYTES >> 10} KiB for a line or packet, {MAX_DIALOG_BYTES >> 20} MiB for a dialog" in text
    for figure in (f"{rows} rows", f"{dialed + accepted} scenarios", f"{len(PROTOCOLS)} protocols"):
        assert figure in README


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_links_of_the_readme() -> None:
    """To its own headings, and to files of the project."""
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", README, re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]+)\)", README):
        path, _, place = link.partition("#")
        if not path:
            assert place in headings, link
        elif "://" not in link:
            assert (PROJECT / path).exists(), link


def test_help_fits_a_terminal() -> None:
    """80 columns, and nothing that a file should not have."""
    assert max(map(len, shown_help().splitlines())) <= 80
    assert "\x1b" not in shown_help()
