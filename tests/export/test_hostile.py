"""Transcripts that were made to break an export: an error in one line, or a Worker; never anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.errors import CommandError
from cfcat.export.worker import worker_module
from cfcat.record.recording import read_transcript
from tests.helpers.program import cfcat
from tests.report.form import check_form

TIME = "2026-11-23T15:04:05.123Z"
HEAD = [f"{TIME} * - transcript of h:1", f"{TIME} * - connecting to h:1", f"{TIME} * - connected to 127.0.0.1:1"]
PATTERNS = [
    "(a+)+$",
    "(" * 5000,
    "(?:" * 2000 + ")" * 2000,
    "a{99999999999999999999}",
    "a{1,99999999999}",
    "[[a]",
    "[a--b]",
    "(?P<n>a)(?P=n)",
    "(?<=a+)b",
    "\\\\",
    "(?i",
    "*",
    "a**",
    "\\x80",
    "(?s-i:a)",
]
WORDS = [
    "connecting to h:1 --tls on --sni x",
    "connecting to ",
    "connecting to h:99999999999999999999",
    "connected to x",
    "TLS established",
    "TLS established in 99999999999999999999.9 ms: ,",
    "stdin ended: " + "9" * 5000 + " bytes sent",
    "peer ended: 1 bytes received",
    "over after " + "9" * 400 + ".00 s: 1 byte sent, 1 byte received",
    "our side ended",
    "could not connect: \\x1b[2J",
    "transcript of ",
    *(f"expected {pattern}" for pattern in PATTERNS),
]
entry = st.one_of(
    st.sampled_from(WORDS).map(lambda text: f"{TIME} * - {text}"),
    st.builds(
        lambda way, tls, data: f"{TIME} {way} {tls} {data}", st.sampled_from("<>"), st.sampled_from("T-"), st.text()
    ),
    st.text(max_size=60),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(entry, max_size=12))
def test_any_lines_make_a_worker_or_a_command_error(lines: list[str]) -> None:
    """Whatever they say, in whatever order."""
    said = "\n"
    try:
        said = worker_module(read_transcript([*HEAD, *lines]))
    except CommandError as error:
        said = error.message + "\n"
        escaped = said[:-1].isprintable()
    else:
        escaped = True
    assert escaped
    assert said.endswith("\n")


@pytest.mark.parametrize("pattern", PATTERNS, ids=range(len(PATTERNS)))
def test_a_pattern_of_a_hostile_transcript(pattern: str, tmp_path: Path) -> None:
    """Neither a traceback, nor a warning, nor a hang."""
    received = f"{TIME} < - {'a' * 64}!"
    lines = [*HEAD, received, f"{TIME} * - expected {pattern}", f"{TIME} > - x", f"{TIME} * - the peer ended"]
    transcript, made = tmp_path / "log", tmp_path / "worker.mjs"
    transcript.write_text("\n".join(lines) + "\n")
    result = cfcat("--export", made, "--from", transcript)
    assert result.status in (0, 1, 2, 23), result
    assert made.exists() == (result.status == 0)
    if result.status:
        check_form(result.stderr)
    else:
        assert result.stderr == ""
