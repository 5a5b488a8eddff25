"""Targets as people type them; what is wrong with one is told in `tests/program/test_values.py`."""

from __future__ import annotations

import pytest

from cfcat.core.address import parse_address
from cfcat.edges.target import is_service_name, typed_target
from cfcat.errors import AddressError


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["localhost:smtp"], "localhost:25"),
        (["localhost", "smtp"], "localhost:25"),
        (["mail.example:submission"], "mail.example:587"),
        (["192.0.2.7", "xmpp-client"], "192.0.2.7:5222"),
        (["192.0.2.7", "jabber-client"], "192.0.2.7:5222"),  # an alias
        (["[2001:db8::7]:imaps"], "[2001:db8::7]:993"),
        (["::1", "12401"], "[::1]:12401"),
        (["::1", "https"], "[::1]:443"),
        (["2001:db8::7", "25"], "[2001:db8::7]:25"),
        (["[::1]", "25"], "[::1]:25"),
        (["fe80::1%eth0", "80"], "[fe80::1%eth0]:80"),
        (["fe80::1%25eth0", "80"], "[fe80::1%eth0]:80"),
        (["[fe80::1%eth0]", "http"], "[fe80::1%eth0]:80"),
        (["bücher.example:smtp"], "xn--bcher-kva.example:25"),
        (["BÜCHER。example", "80"], "xn--bcher-kva.example:80"),
        (["faß.example:80"], "xn--fa-hia.example:80"),  # not fass.example, as Python's own codec has it
        (["unix:/tmp/ü"], "unix:/tmp/ü"),
    ],
)
def test_what_people_type(words: list[str], text: str) -> None:
    """Services by name, and IPv6 addresses without brackets where the port stands apart."""
    assert typed_target(*words) == parse_address(text)


@pytest.mark.parametrize(
    "words",
    [
        *(["h:0"], ["h", "0"], ["h:000"]),
        *(
            ["h:no-such-service"],
            ["h", "no-such-service"],
            ["h", ""],
            ["h:"],
            ["h", "-1"],
            ["h", "smtp "],
            ["h", "smtp/tcp"],
        ),
        *(["::1:25"], ["::1"], ["1:2:3", "25"], ["fe80::1%eth0:80"], ["smtp"], [":smtp"], ["", "smtp"]),
        *(["http://h:http"], ["u@h", "25"], ["h\0", "25"], ["h", "25\n"]),
    ],
)
def test_what_nobody_can_mean(words: list[str]) -> None:
    """The reference's parser has the last word; a port of 0 is only the library's."""
    with pytest.raises(AddressError):
        typed_target(*words)


def test_the_librarys_parser_knows_no_service() -> None:
    """A2: in a program a target is text from somewhere, and the reference refuses it."""
    with pytest.raises(AddressError):
        parse_address("localhost:smtp")


def test_a_number_is_no_service() -> None:
    assert [text for text in ("25", "", "-smtp", "a b", "smtp", "x11", "3com-tsmux") if is_service_name(text)] == [
        *("smtp", "x11", "3com-tsmux"),
    ]
