"""Rule numbers and their list: what the code names is in `cfcat/RULES.md`, and what is there is named in the code.

A rule is named in a comment, in a docstring, or at the beginning of a test's name. Strings are data and not looked at.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

PROJECT = Path(__file__).parents[1]
RULES = PROJECT / "cfcat" / "RULES.md"

ENTRY = re.compile(r"- \*\*(?P<series>[A-Z]|API-R|SEC-R|row )(?P<number>[1-9]\d?)\*\* \S.*")
SERIES = r"(?<![\w-])(?P<series>(?:[A-Z]+-)?[A-Z])"
# `S14`, `SEC-R7`, `A2-A8`, `H1 to H5`: any capital letter with a number, so that an unknown series is found as well.
RULE = re.compile(SERIES + r"(?P<first>[1-9]\d?)(?:(?: to |-)(?P=series)(?P<last>[1-9]\d?))?(?!\w)")
# `row 41`, `Rows 26 to 34, 37 and 40`
ROWS = re.compile(r"\b[Rr]ows? (?P<numbers>\d+(?:(?: to |, | and |-)\d+)*)")
SPAN = re.compile(r"(?P<first>\d+)(?:(?: to |-)(?P<last>\d+))?")
# The names of tests: `test_s5_s6_…`, `test_sec_r7_…`, `test_row_38_39_…`, `test_rows_77_and_86_…`
NAMED_RULE = re.compile(r"_(?P<series>(?:(?:api|sec)_)?[a-z])(?P<number>[1-9]\d?)(?=_)")
NAMED_ROWS = re.compile(r"_rows?(?P<numbers>(?:_(?:and_)?\d+)+)(?=_)")
# What looks like a rule but is not one.
FALSE_FRIENDS = re.compile(r"\bC1 controls?\b")  # the control characters U+0080 to U+009F

BARE = re.compile(r"(?<![\w-])R[1-9]\d?(?!\w)|(?<!api)(?<!sec)_r[1-9]\d?_")


def spread(series: str, first: str, last: str | None) -> Iterator[str]:
    """`S`, `5`, `7` is S5, S6, S7."""
    for number in range(int(first), int(last or first) + 1):
        yield f"{series}{number}"


def named_in_prose(text: str) -> Iterator[str]:
    """The rules that a comment or a docstring names."""
    text = FALSE_FRIENDS.sub("", " ".join(text.split()))
    for match in RULE.finditer(text):
        yield from spread(match["series"], match["first"], match["last"])
    for match in ROWS.finditer(text):
        for span in SPAN.finditer(match["numbers"]):
            yield from spread("row ", span["first"], span["last"])


def named_in_name(name: str) -> Iterator[str]:
    """The rules at the beginning of a test's name."""
    at = len("test")
    while True:
        if match := NAMED_ROWS.match(name, at):
            yield from (f"row {int(number)}" for number in re.findall(r"\d+", match["numbers"]))
        elif match := NAMED_RULE.match(name, at):
            yield match["series"].replace("_", "-").upper() + match["number"]
        else:
            return
        at = match.end()


def named_in_source(source: str) -> Iterator[str]:
    """The rules that a module names in its comments, its docstrings and the names of its tests."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string.lstrip("#") for token in tokens if token.type == tokenize.COMMENT]
    yield from named_in_prose(" ".join(comments))  # joined, because a sentence may go on in the next line
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from named_in_prose(ast.get_docstring(node) or "")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield from named_in_name(node.name)


def sources() -> list[Path]:
    return sorted([*(PROJECT / "cfcat").rglob("*.py"), *(PROJECT / "tests").rglob("*.py")])


@cache
def named() -> dict[str, set[str]]:
    """Each rule that is named, and the modules that do it."""
    rules: dict[str, set[str]] = {}
    for path in sources():
        if path != Path(__file__):  # its examples are not rules
            for rule in named_in_source(path.read_text()):
                rules.setdefault(rule, set()).add(str(path.relative_to(PROJECT)))
    return rules


def entries() -> list[tuple[str, int]]:
    """The list: series and number of each line, in order."""
    lines = [line for line in RULES.read_text().partition("\n## ")[2].splitlines() if line.startswith("- ")]
    matches = [ENTRY.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return [(match["series"], int(match["number"])) for match in matches if match]


def listed() -> set[str]:
    return {f"{series}{number}" for series, number in entries()}


def test_each_rule_that_is_named_is_in_the_list() -> None:
    """A number leads to a line of RULES.md."""
    known = listed()
    assert {rule: sorted(modules) for rule, modules in named().items() if rule not in known} == {}


def test_each_rule_of_the_list_is_named() -> None:
    """A line of RULES.md leads to the code that follows it, or to its test."""
    assert sorted(listed() - named().keys()) == []


def test_no_number_means_two_things() -> None:
    """Each number has one line; the numbers of a series stand together, in order."""
    numbers = entries()
    assert [entry for entry, count in Counter(numbers).items() if count > 1] == []
    order = list(dict.fromkeys(series for series, _ in numbers))
    assert numbers == sorted(numbers, key=lambda entry: (order.index(entry[0]), entry[1]))


def test_no_r_is_without_its_series() -> None:
    """`API-R7` is about reading, `SEC-R7` about security: in strings and in documents, too."""
    documents = [*PROJECT.glob("*.md"), *(PROJECT / "tests").rglob("*.md"), RULES, *(PROJECT / "man").iterdir()]
    bare = {
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()}"
        for path in [*sources(), *documents]
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if BARE.search(line)
    }
    assert sorted(bare) == []


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("the flush is done (S5, S6)", "S5 S6"),
        ("A2-A8; H1 to H3", "A2 A3 A4 A5 A6 A7 A8 H1 H2 H3"),
        ("SEC-R9, API-R10; rules SEC-R20 to SEC-R22", "SEC-R9 API-R10 SEC-R20 SEC-R21 SEC-R22"),
        ("R7 has no series", "R7"),
        ("W7's text; W4, row 21: nothing", "W7 W4 row 21"),
        ("Rows 26 to 28, 37\n    and 40 of the matrix", "row 26 row 27 row 28 row 37 row 40"),
        ("Row 7, RFC 8305, SHA1, X509, Python 3.13, U+009F, C0 and C1 control characters", "row 7"),
    ],
)
def test_prose(text: str, rules: str) -> None:
    """What a sentence names."""
    assert sorted(named_in_prose(text)) == sorted(re.findall(r"row \d+|\S+", rules))


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("test_s5_s6_the_upgrade", ["S5", "S6"]),
        ("test_v8_sec_r10_a_read", ["V8", "SEC-R10"]),
        ("test_row_87_sec_r7_silence", ["row 87", "SEC-R7"]),
        ("test_row_01_a_name", ["row 1"]),
        ("test_rows_77_and_86_nothing", ["row 77", "row 86"]),
        ("test_row_38_39_flags", ["row 38", "row 39"]),
        ("test_a_c1_control_in_rows_of_ipv6_addresses", []),
    ],
)
def test_name(name: str, rules: list[str]) -> None:
    """What the name of a test names: rules come first."""
    assert list(named_in_name(name)) == rules


def test_source() -> None:
    """Comments, docstrings and names count; strings do not."""
    source = '''
"""V1: a module."""
def test_v2_x() -> None:
    """V3: a test."""
    text = "V9"  # V4 to
    # V6
def helper_v8_x() -> str:
    return """V7: no docstring."""
'''
    assert sorted(set(named_in_source(source))) == ["V1", "V2", "V3", "V4", "V5", "V6"]
