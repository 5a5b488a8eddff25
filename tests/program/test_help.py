"""What --help shows, and to whom. That it names everything there is, `tests/test_documented.py` sees to."""

from __future__ import annotations

import os

import pytest

from tests.helpers.program import cfcat, finish, start


def test_help() -> None:
    """Every option with a line on it, on stdout, for a terminal of 80 columns."""
    result = cfcat("-h")
    assert (result.stderr, result.status) == ("", 0)
    assert cfcat("--help") == cfcat("-h", "nonsense") == result
    text = result.stdout.decode()
    assert text.startswith("Usage: cfcat [OPTIONS] ")
    for option in ("--half-open", "-4", "-6", "--connect-timeout", "-w, --idle-timeout", "--no-shutdown", "--raw"):
        assert option in text
    for option in ("-q, --quit-after", "--tls", "--sni", "--cacert", "-k, --insecure", "-V, --version", "-h, --help"):
        assert option in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


@pytest.mark.parametrize("option", ["-h", "-V"])
def test_reader_of_help_leaves(option: str) -> None:
    """`cfcat -h | head -1` ends as any other program does: silently, by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    with start(option, stdout=write) as program:
        os.close(write)
        program.wait(10)
        result = finish(program)
    assert (result.status, result.stderr) == (-13, "")
