"""One sentence for each certificate that is not trusted, from what it says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.core.certificate import SENTENCES, distrust


def names(*values: str) -> dict[str, object]:
    return {"subjectAltName": tuple(("DNS", value) for value in values)}


@pytest.mark.parametrize(
    ("code", "certificate", "sentence"),
    [
        (10, {"notAfter": "Apr  2 12:00:00 2015 GMT"}, "it expired on 2015-04-02"),
        (10, {"notAfter": "Dec 12 12:00:00 2015 GMT"}, "it expired on 2015-12-12"),
        (9, {"notBefore": "Jan  1 00:00:00 2040 GMT"}, "it is not valid before 2040-01-01"),
        (62, names("*.example.net"), "it is for *.example.net, not mail.example"),
        (62, names(*"abcdef"), "it is for a, b, c, d, e, ..., not mail.example"),
        (64, {"subjectAltName": (("IP Address", "192.0.2.7"),)}, "it is for 192.0.2.7, not mail.example"),
        (20, {"issuer": ((("commonName", "Some CA"),),)}, "it was issued by 'Some CA', which is not known here"),
        (20, {"issuer": ((("organizationName", "Org"),),)}, "it was issued by 'Org', which is not known here"),
    ],
)
def test_the_certificate_is_quoted(code: int, certificate: dict[str, object], sentence: str) -> None:
    """The day, the names, the issuer: what one needs to know to mend it."""
    assert distrust(code, "", [certificate], "mail.example") == sentence


@pytest.mark.parametrize("code", SENTENCES)
def test_without_the_certificate_there_is_a_sentence_still(code: int) -> None:
    """It may not be had, or say nothing that is understood."""
    chains: list[list[dict[str, object]]] = [[], [{}], [{"notAfter": "?", "notBefore": "", "issuer": ()}]]
    for chain in chains:
        if chain and chain[0] and code in (62, 64):
            continue  # no name in it: that has a sentence of its own
        assert distrust(code, "", chain, "mail.example") == SENTENCES[code]


def test_what_has_no_sentence_is_openssls() -> None:
    """A fault that nobody thought of is named all the same."""
    assert distrust(999, "some new fault", [], None) == "some new fault"


def above(name: str, **dates: str) -> dict[str, object]:
    return {"subject": ((("commonName", name),),), "issuer": ((("commonName", "Root"),),), **dates}


@pytest.mark.parametrize(
    ("code", "chain", "sentence"),
    [
        (
            10,
            [{"notAfter": "Jan  1 00:00:00 2040 GMT"}, above("Old CA", notAfter="Jan  1 00:00:00 2021 GMT")],
            "its authority 'Old CA' expired on 2021-01-01",
        ),
        (
            9,
            [{"notBefore": "Jan  1 00:00:00 2020 GMT"}, above("New CA", notBefore="Jan  1 00:00:00 2039 GMT")],
            "its authority 'New CA' is not valid before 2039-01-01",
        ),
        (20, [{}, above("Middle")], "its authority 'Middle' was issued by 'Root', which is not known here"),
    ],
)
def test_the_one_of_the_chain_that_is_to_blame_is_named(
    code: int, chain: list[dict[str, object]], sentence: str
) -> None:
    """It need not be the peer's own; a chain that is too short ends where nobody is known."""
    assert distrust(code, "", chain, "mail.example") == sentence


def test_an_address_in_the_place_of_a_name_does_not_count() -> None:
    """Row 75: "it is for 192.0.2.7, not 192.0.2.7" would help nobody."""
    said = distrust(64, "", [names("192.0.2.7")], "192.0.2.7")
    assert said == "it has 192.0.2.7 as a host name, which does not count for an address"


def test_a_name_in_the_subject_does_not_count() -> None:
    """R: CN only. It is said, for who looks at the certificate sees a name there."""
    certificate = {"subject": ((("commonName", "mail.example"),),)}
    assert distrust(62, "", [certificate], "mail.example").startswith("it names no host")


@given(st.lists(st.text(max_size=3000), min_size=1, max_size=200))
def test_row_77_a_flood_of_names_is_bounded(values: list[str]) -> None:
    """A certificate may have a megabyte of names; the message is a line."""
    assert len(distrust(62, "", [names(*values)], "mail.example")) < 600
