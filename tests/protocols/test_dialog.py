"""The names that a dialog may say."""

from __future__ import annotations

import pytest

from cfcat.protocols import Names


@pytest.mark.parametrize(
    "name", ["", "a b", "a\r\nMAIL FROM:<x>", "a\n", "a\0", "a\x7f", "a\t", "a\u2028b", "a\xa0b", "\ud800"]
)
@pytest.mark.parametrize("which", ["client_name", "server_name"])
def test_names_with_more_than_a_name_in_them_are_refused(which: str, name: str) -> None:
    """A name cannot bring a command along."""
    with pytest.raises(ValueError, match="not usable as a name"):
        Names(**({"client_name": "a", "server_name": "b"} | {which: name}))


def test_client_name_is_ascii() -> None:
    """EHLO without SMTPUTF8 has no other (RFC 5321 §4.1.2); the domain of XMPP may have."""
    with pytest.raises(ValueError, match="not an ASCII name"):
        Names("bücher.example", "x")
    assert Names("x", "bücher.example").server_name == "bücher.example"
