"""One sentence for each certificate that is not trusted, from what it says of itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.core.certificate import SENTENCES, _distinguished_name, distrust, read_certificate


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
    """A certificate with a CN and no SAN: the message says so, because its reader sees a name in the certificate."""
    certificate = {"subject": ((("commonName", "mail.example"),),)}
    assert distrust(62, "", [certificate], "mail.example").startswith("it names no host")


@given(st.lists(st.text(max_size=3000), min_size=1, max_size=200))
def test_row_77_a_flood_of_names_is_bounded(values: list[str]) -> None:
    """A certificate may have a megabyte of names; the message is a line."""
    assert len(distrust(62, "", [names(*values)], "mail.example")) < 600


@pytest.mark.parametrize(
    ("name", "host", "told"),
    [
        ("*.a.test", "my_host.a.test", True),
        ("*.A.test", "MY_HOST.a.test.", True),
        ("*.a.test", "b.c.a.test", False),
        ("*.b.test", "my_host.a.test", False),
        ("*.a.test", "a.test", False),
        ("x.a.test", "my_host.a.test", False),
    ],
)
def test_a_wildcard_that_would_match_but_for_an_underscore_is_told(name: str, host: str, told: bool) -> None:
    """Only where that is the reason: OpenSSL's wildcards match letters, digits and hyphens."""
    sentence = distrust(62, "", [names(name)], host)
    assert sentence.startswith(f"it is for {name}, not {host}")
    assert sentence.endswith(": a wildcard matches letters, digits and hyphens only") == told


@pytest.mark.parametrize(
    ("openssl", "usual"),
    [
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
        ("0:0:0:0:0:0:0:1\n", "::1"),
        ("192.0.2.7", "192.0.2.7"),
        ("<invalid>", "<invalid>"),
        ("1:2:3", "1:2:3"),
    ],
)
def test_an_address_is_written_in_its_usual_form(openssl: str, usual: str) -> None:
    """In the list of names, and in the sentence about another name."""
    certificate = {"subjectAltName": (("IP Address", openssl),)}
    assert read_certificate(certificate, b"").names == (usual,)
    assert distrust(64, "", [certificate], "192.0.2.1") == f"it is for {usual}, not 192.0.2.1"


def test_every_fault_of_openssls_has_our_own_words() -> None:
    """The codes of X509_V_ERR_…, 1 to 94 without a gap: what an old OpenSSL says of one is seldom a sentence."""
    assert list(SENTENCES) == list(range(1, 95))
    assert all(re.match(r"(it|its|the|one|no|a|an|there|OpenSSL)\b.*\w$", text) for text in SENTENCES.values())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("mail.example", "CN=mail.example"),
        ("a, O=Trusted Bank", r"CN=a\, O=Trusted Bank"),
        ('"a" + b; <c>', r"CN=\"a\" \+ b\; \<c\>"),
        ("back\\slash", r"CN=back\\slash"),
        (" a ", r"CN=\ a\ "),
        ("#1", r"CN=\#1"),
    ],
)
def test_parts_of_a_subject_are_quoted(value: str, shown: str) -> None:
    """RFC 4514: what stands in one part must not pass for another."""
    assert _distinguished_name(((("commonName", value),),)) == shown
