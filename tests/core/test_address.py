"""The parser of addresses, rule by rule: A2 to A14, and what holds for any text at all."""

from __future__ import annotations

import ipaddress
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.core.address import SocketAddress, Target, format_address, is_ipv6, parse_address, without_zone
from cfcat.errors import AddressError

pytestmark = pytest.mark.one_python

NOT_PARSED = "Specified address could not be parsed."
NO_HOSTNAME = "Specified address is missing hostname."
NO_PORT = "Specified address is missing port."
BAD_TEXT = "Specified address is empty string, contains unsupported characters or is too long."
TOO_LARGE = "Value out of range. Must be less than or equal to 65535."
NEGATIVE = "The value cannot be converted because it is negative and this API expects a positive number."
NAME_250 = "a" * 250


def complaint(address: str | SocketAddress) -> str:
    """What `parse_address` says of an address that it refuses; the whole of it, there is no detail."""
    with pytest.raises(AddressError) as caught:
        parse_address(address)
    assert str(caught.value) == caught.value.message
    return caught.value.message


# ---------------------------------------------------------------------------------------------- strings


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:25", "127.0.0.1", 25),
        ("localhost:443", "localhost", 443),
        ("mail.example.com:65535", "mail.example.com", 65535),
        ("a_b.invalid:4444", "a_b.invalid", 4444),
        ("-:1", "-", 1),
    ],
)
def test_host_and_port_are_taken_apart(text: str, host: str, port: int) -> None:
    """The plain case: the text is kept, the host and the number are its parts."""
    assert parse_address(text) == Target(text, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:http",
        "127.0.0.1:80x",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1:65536",
        "127.0.0.1:" + "9" * 5000,
        "127.0.0.1:\u0661\u0662",  # digits, but not ASCII ones
        "::1:25",
        "::1",
        "2001:db8::7:25",
        "[127.0.0.1]:80",
        "[localhost]:80",
        "[]:80",
        "[::1:80",
        "[::1]80",
        "[::1%]:80",
        "[::1%a/b]:80",
        "[::1%a%b]:80",
        "[%lo]:80",
        "[127.0.0.1%lo]:80",
        "[a%lo]:80",
        "[::1]]:80",
        "127.0.0.1:80:80",
        "[::1]:80:80",
        "local host:80",
        " localhost:80",
        "localhost :80",
        "localhost: 80",
        ":80",
        ":",
        "user@:80",
        "user@",
        "a[b:80",
        "a|b:80",
        "a<b:80",
        "a\\b:80",
        "a\0b:80",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_a2_what_is_no_authority_could_not_be_parsed(text: str) -> None:
    """A2: bad ports, bare IPv6, IPv4 in brackets, two ports, blanks, a port without a host."""
    assert complaint(text) == NOT_PARSED


def test_a3_the_empty_string_is_missing_its_hostname() -> None:
    """A3: it parses, with an empty host."""
    assert complaint("") == NO_HOSTNAME


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:", "localhost", "[::1]", "[::1]:", "4444"])
def test_a4_there_is_no_default_port(text: str) -> None:
    """A4: no port, or a colon with nothing behind it."""
    assert complaint(text) == NO_PORT


@pytest.mark.parametrize("text", ["http://127.0.0.1:80", "https://example.com", "gopher://example.com/1"])
def test_a5_a_url_is_a_host_without_a_port(text: str) -> None:
    """A5: the scheme is taken for the host, so the complaint is that of A4."""
    assert complaint(text) == NO_PORT


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:80/path",
        "127.0.0.1:80/",
        "127.0.0.1:80?q",
        "127.0.0.1:80#x",
        "user@127.0.0.1:80",
        "user:pw@127.0.0.1:80",
        "%6cocalhost:80",
        "127.0.0.1:80\n",
        "127.0.0.1:80\r\n",
        "127.0.0.1:80 ",
        "local\thost:80",
        "b\u00fccher.invalid:4444",
        "local!host:80",
        'a"b:80',
    ],
    ids=ascii,
)
def test_a8_what_parses_but_has_other_characters_is_unsupported(text: str) -> None:
    """A8: path, query, fragment, user info, percent escapes, trailing blanks, anything outside ASCII."""
    assert complaint(text) == BAD_TEXT


def test_a8_the_limit_of_255_counts_host_colon_and_port() -> None:
    """A8: 255 characters pass, 256 do not, wherever the port ends."""
    longest = f"{NAME_250}:4444"
    assert len(longest) == 255
    assert parse_address(longest) == Target(longest, NAME_250, 4444)
    assert complaint(f"{NAME_250}a:4444") == BAD_TEXT
    assert complaint(f"{NAME_250}:44444") == BAD_TEXT


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("LocalHost:80", "LocalHost", 80),
        ("localhost:0080", "localhost", 80),
        ("localhost:" + "0" * 200 + "7", "localhost", 7),
        ("127.1:80", "127.1", 80),
        ("2130706433:80", "2130706433", 80),
        ("[0:0:0:0:0:0:0:1]:80", "0:0:0:0:0:0:0:1", 80),
        ("example.com.:80", "example.com.", 80),
    ],
)
def test_a9_the_text_is_used_as_written(text: str, host: str, port: int) -> None:
    """A9: case, leading zeros, short IPv4, long IPv6 and a trailing dot are left to the resolver."""
    assert parse_address(text) == Target(text, host, port)


@pytest.mark.parametrize("host", ["::1", "::", "2001:db8::7", "::ffff:127.0.0.1", "::ffff:7f00:1", "2001:DB8::A"])
def test_a10_ipv6_goes_in_brackets_in_a_string_and_in_a_record(host: str) -> None:
    """A10: IPv4-mapped ones too, dotted or hexadecimal; the target has the address without brackets."""
    expected = Target(f"[{host}]:25", host, 25)
    assert parse_address(f"[{host}]:25") == expected
    assert parse_address(SocketAddress(f"[{host}]", 25)) == expected


@pytest.mark.parametrize("text", ["localhost:0", "localhost:000"])
def test_a11_port_zero_is_no_matter_of_syntax(text: str) -> None:
    """A11: it passes here and fails when connecting."""
    assert parse_address(text).port == 0


# ---------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    ("hostname", "host"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("unix", "unix"), ("[::1]", "::1")],
)
def test_a6_a_record_is_joined(hostname: str, host: str) -> None:
    """A6, A12: the text is hostname, colon, port; `unix` is a name like any other."""
    assert parse_address(SocketAddress(hostname, 4444)) == Target(f"{hostname}:4444", host, 4444)


@pytest.mark.parametrize("hostname", ["", "::1", "127.0.0.1:80", "[::1]:80", "[127.0.0.1]", "[::1", "a:"])
def test_a6_a_record_that_names_nothing_passes_and_has_no_host(hostname: str) -> None:
    """A6: nothing more is parsed, such a record fails when connecting."""
    assert parse_address(SocketAddress(hostname, 4444)) == Target(f"{hostname}:4444", "", 4444)


@pytest.mark.parametrize(
    ("port", "message"), [(65536, TOO_LARGE), (70000, TOO_LARGE), (10**40, TOO_LARGE), (-1, NEGATIVE)]
)
def test_a7_the_port_of_a_record_has_a_range(port: int, message: str) -> None:
    """A7: 0 to 65535, each side with a text of its own."""
    assert complaint(SocketAddress("127.0.0.1", port)) == message


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_a7_the_ends_of_the_range_belong_to_it(port: int) -> None:
    """A7, A11: 0 is a port here."""
    assert parse_address(SocketAddress("127.0.0.1", port)).port == port


def test_a7_comes_before_a8() -> None:
    """A7, A8: the number is looked at before the text that it is joined to."""
    assert complaint(SocketAddress("local!host", 65536)) == TOO_LARGE


@pytest.mark.parametrize(
    "hostname", ["local!host", "a b", "a/b", "user@host", "b\u00fccher", "a\n", "%6c", NAME_250 + "a"]
)
def test_a8_holds_for_records(hostname: str) -> None:
    """A8: characters and length, with the port counted in."""
    assert complaint(SocketAddress(hostname, 4444)) == BAD_TEXT


# ------------------------------------------------------------------------------------------- wrong types


@pytest.mark.parametrize("address", [4444, None, b"localhost:80", ("localhost", 80), ["localhost", 80], {}])
def test_a14_v15_what_is_neither_string_nor_record_is_a_type_error(address: object) -> None:
    """A14, V15: nothing is converted to a string; the type that came is named."""
    with pytest.raises(TypeError, match=rf"not {type(address).__name__}$"):
        parse_address(address)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", ["80", 80.0, None, True])
def test_a7_v15_the_port_of_a_record_is_an_int(port: object) -> None:
    """A7, V15: no string of digits, no fraction, no null."""
    with pytest.raises(TypeError, match=rf"port is int, not {type(port).__name__}"):
        parse_address(SocketAddress("localhost", port))  # type: ignore[arg-type]


@pytest.mark.parametrize("hostname", [None, 127, b"localhost"])
def test_a14_v15_the_hostname_of_a_record_is_a_string(hostname: object) -> None:
    """A14, V15: an absent hostname does not become a host called `undefined`."""
    with pytest.raises(TypeError, match=rf"hostname must be str, not {type(hostname).__name__}"):
        parse_address(SocketAddress(hostname, 80))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ for any text

# Random Unicode seldom comes near an address: most of it is made of what addresses are made of.
any_text = st.text() | st.text("aA0189.-_:[]@/?#%\\ \t\n\0\u00fc") | st.text("0123456789abcdef:[]")
label = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20)
names = st.lists(label, min_size=1, max_size=5).map(".".join)
ipv4s = st.ip_addresses(v=4).map(str)
ipv6s = st.ip_addresses(v=6).map(str)
ports = st.integers(0, 65535)


def check(accepted: Target) -> None:
    """What holds of every target (A8, A11): the characters, the length, the port, a host that is one."""
    assert re.fullmatch(r"[A-Za-z0-9.\-_\[\]:]{1,255}", accepted.text)
    assert 0 <= accepted.port <= 65535
    if ":" in accepted.host:
        ipaddress.IPv6Address(accepted.host)
    else:
        assert not set("[]") & set(accepted.host)


def outcome(address: str | SocketAddress) -> Target | str:
    """The target, or the text of the AddressError; anything else that is raised fails the test."""
    try:
        return parse_address(address)
    except AddressError as error:
        return error.message


@given(any_text)
def test_any_text_is_a_target_or_an_address_error(text: str) -> None:
    """No text makes the parser raise anything else, and what it lets through is clean (A2-A8)."""
    made = outcome(text)
    if isinstance(made, Target):
        assert made.text == text
        assert made.host
        check(made)
    else:
        assert made in {NOT_PARSED, NO_HOSTNAME, NO_PORT, BAD_TEXT}


@given(any_text, st.integers())
def test_any_record_is_a_target_or_an_address_error(hostname: str, port: int) -> None:
    """The same for records (A6-A8), whose host may name nothing."""
    made = outcome(SocketAddress(hostname, port))
    if isinstance(made, Target):
        assert made.text == f"{hostname}:{port}"
        assert made.port == port
        check(made)
    else:
        assert made in {TOO_LARGE, NEGATIVE, BAD_TEXT}


@given(any_text)
def test_a_record_accepts_whatever_a_string_accepts(text: str) -> None:
    """A string and the record of its two halves are the same target (A6)."""
    made = outcome(text)
    hostname, _, digits = text.rpartition(":")
    if isinstance(made, Target) and str(int(digits)) == digits:
        assert parse_address(SocketAddress(hostname, int(digits))) == made


@given(names | ipv4s | ipv6s, ports)
def test_host_and_port_make_the_round_trip(host: str, port: int) -> None:
    """`format_address` and `parse_address` undo each other, for names, IPv4 and bracketed IPv6."""
    text = format_address(host, port)
    assert parse_address(text) == Target(text, host, port)


@pytest.mark.parametrize("zone", ["eth0", "1", "en-0.7_x", "25"])
def test_v20_a_zone_is_part_of_the_host(zone: str) -> None:
    """V20: a link-local server is reached by no other; behind %25, as in a URL (RFC 6874), it is the same."""
    wanted = Target(f"[fe80::1%{zone}]:80", f"fe80::1%{zone}", 80)
    for text in (f"[fe80::1%{zone}]", f"[fe80::1%25{zone}]"):
        assert parse_address(f"{text}:80") == parse_address(SocketAddress(text, 80)) == wanted
    assert without_zone(wanted.host) == "fe80::1"
    assert without_zone("mail.example") == "mail.example"


@given(ipv6s)
def test_bare_ipv6_with_a_port_is_never_guessed_at(host: str) -> None:
    """A2: `::1:25` could be an address of its own."""
    assert complaint(f"{host}:25") == NOT_PARSED


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("::1", True), ("1::", True), ("::1%lo", False), ("127.0.0.1", False), ("", False), ("[::1]", False)],
)
def test_is_ipv6_wants_the_bare_address(text: str, is_one: bool) -> None:
    """Neither brackets nor a zone, which the URL standard does not have."""
    assert is_ipv6(text) is is_one
