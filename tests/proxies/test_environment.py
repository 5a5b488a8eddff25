"""The proxy that the environment names, as curl reads it."""

from __future__ import annotations

import pytest

from cfcat.proxies.environment import named_proxy
from tests.proxies.play import at

GATE = "socks5h://gate:1080"


def named(environ: dict[str, str], target: str = "mail.example:25", *, tls: bool = False) -> str | None:
    found = named_proxy(environ, at(target), tls=tls)
    return None if found is None else f"{found[0]} {found[1]}"


@pytest.mark.parametrize(
    ("environ", "tls", "expected"),
    [
        ({}, False, None),
        ({"ALL_PROXY": GATE}, False, f"ALL_PROXY {GATE}"),
        ({"ALL_PROXY": GATE}, True, f"ALL_PROXY {GATE}"),
        ({"all_proxy": GATE, "ALL_PROXY": "x://y"}, False, f"all_proxy {GATE}"),
        ({"HTTPS_PROXY": GATE}, False, None),
        ({"HTTPS_PROXY": GATE, "ALL_PROXY": "x://y"}, True, f"HTTPS_PROXY {GATE}"),
        ({"https_proxy": GATE, "HTTPS_PROXY": "x://y"}, True, f"https_proxy {GATE}"),
        ({"http_proxy": GATE, "HTTP_PROXY": GATE}, True, None),  # no target of ours is a page
        ({"HTTPS_PROXY": "", "ALL_PROXY": GATE}, True, f"ALL_PROXY {GATE}"),
        ({"ALL_PROXY": "gate:3128"}, False, "ALL_PROXY http://gate:3128"),
    ],
)
def test_which_variable_counts(environ: dict[str, str], tls: bool, expected: str | None) -> None:
    """Small letters first, HTTPS_PROXY for TLS alone, an empty one as none; without a scheme it is HTTP's."""
    assert named(environ, tls=tls) == expected


@pytest.mark.parametrize(
    ("exceptions", "target", "excluded"),
    [
        ("*", "mail.example:25", True),
        ("*, other", "mail.example:25", False),
        ("mail.example", "mail.example:25", True),
        ("MAIL.example", "mail.EXAMPLE:25", True),
        ("example", "mail.example:25", True),
        (".example", "mail.example:25", True),
        ("example.", "mail.example.:25", True),
        ("ail.example", "mail.example:25", False),
        ("other, mail.example", "mail.example:25", True),
        ("other mail.example", "mail.example:25", True),
        ("mail.example:25", "mail.example:25", False),
        (",. ,", "mail.example:25", False),
        ("192.0.2.7", "192.0.2.7:25", True),
        ("192.0.2.0/24", "192.0.2.7:25", True),
        ("192.0.2.0/28", "192.0.2.77:25", False),
        ("2.7", "192.0.2.7:25", False),
        ("[2001:db8::7]", "[2001:db8::7]:25", True),
        ("2001:db8::/32", "[2001:db8::7]:25", True),
        ("192.0.2.0/24", "[2001:db8::7]:25", False),
        ("fe80::1", "[fe80::1%eth0]:25", True),
    ],
)
def test_exceptions(exceptions: str, target: str, excluded: bool) -> None:
    """Domains with what belongs to them, addresses, networks."""
    for name in ("no_proxy", "NO_PROXY"):
        assert (named({"ALL_PROXY": GATE, name: exceptions}, target) is None) == excluded


def test_small_letters_come_first_in_exceptions_too() -> None:
    """As for the others."""
    assert named({"ALL_PROXY": GATE, "no_proxy": "other", "NO_PROXY": "*"}) is not None
