"""Literals and patterns mean the same in JavaScript: as node sees it, where there is node."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.export.javascript import bytes_literals, translate_regex
from tests.helpers.installed import demand

PATTERNS = [
    *(rb"^220 ", rb"^a1 OK.*\r\n", rb"(?i)^a1 ok", rb"^250[ ]", rb"^\.\r\n", rb"Z\x00\x00\x00\x05I", rb"done$"),
    *(rb"^\+OK", rb"[^\s\]]+/x", rb"[]a]{2,}", rb"a{,2}b", rb"a{b", rb"(?:ab|cd)+?e", rb"\s\S\w\W\d\D\b", rb"."),
    *(rb"-{2}#@", rb"\xff\x80", "é".encode(), rb"</stream:features>", rb"^[a-f0-9]{4}$", rb"(?=b)b(?!c)", rb"x|^$"),
]
TEXTS = [
    *(b"220 mail\r\n250-a\r\n250 b\r\n", b"x\r\na1 ok done\r\na1 OK y\r\n", b".\r\n", b"\x00Z\x00\x00\x00\x05I"),
    *(b"+OK\n", b"ab]]a/x", b"aab aaab a{b", b"ababcde", b" a-1\xa0 b", b"\xff\x80", "é".encode(), b"--#@"),
    *(b"</stream:features>", b"beef\nbea\n", b"bcb", b"\r\r\n\n", b"", b"a\x85b", b"done\r", b"and done"),
]


def in_node(program: str, data: object) -> object:
    """What a program writes on standard output, as JSON; its `data` is from standard input."""
    source = f"const data = JSON.parse(require('fs').readFileSync(0)); {program}"
    done = subprocess.run(
        [demand("node"), "-e", source], input=json.dumps(data).encode(), capture_output=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_patterns_find_the_same() -> None:
    """Of each the span in each text, a character a byte."""
    regexes = [translate_regex(pattern) for pattern in PATTERNS]
    assert None not in regexes
    found = in_node(
        "const span = (m) => m && [m.index, m.index + m[0].length];"
        "console.log(JSON.stringify(data.regexes.map((r) => data.texts.map((t) => span(eval(r).exec(t))))))",
        {"regexes": regexes, "texts": [text.decode("latin-1") for text in TEXTS]},
    )
    matches = [[re.search(pattern, text, re.MULTILINE) for text in TEXTS] for pattern in PATTERNS]
    assert found == [[match and list(match.span()) for match in row] for row in matches]


@pytest.mark.parametrize(
    "pattern",
    [rb"(?P<n>a)(?P=n)", rb"(a)\1", rb"\Aa", rb"a\Z", rb"a++", rb"^*a", rb"(?s)a", rb"(?<=a)b", rb"[\S]", rb"[a"],
)
def test_what_javascript_has_not(pattern: bytes) -> None:
    """Lines are counted in its place."""
    assert translate_regex(pattern) is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_survive(data: bytes) -> None:
    """Read as JavaScript reads it: a JSON string as UTF-8, or digits. And what is written is ASCII in one line."""
    read = b""
    for literal in bytes_literals(data):
        assert literal.isascii()
        assert literal.isprintable()
        if literal.startswith('hex("'):
            read += bytes.fromhex(literal[5:-2])
        else:
            read += json.loads(literal).encode()
    assert read == data


def test_literals_in_node() -> None:
    """The same by the judge himself."""
    samples = [bytes(range(256)), "é\u2028\U0001f600\\\"'`${x}\r\n</script>".encode(), b"EHLO me\r\n", b"\xff", b"*/"]
    program = (
        "const hex = (digits) => Buffer.from(digits, 'hex');"
        "const read = (list) => eval(list).map((literal) => Buffer.from(literal).toString('hex')).join('');"
        "console.log(JSON.stringify(data.map(read)))"
    )
    lists = [f"[{', '.join(bytes_literals(sample))}]" for sample in samples]
    assert in_node(program, lists) == [sample.hex() for sample in samples]
