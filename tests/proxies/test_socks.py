"""SOCKS, byte by byte: RFC 1928, RFC 1929, and the notes on SOCKS 4 and 4a."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.proxies.dialog import Refusal
from cfcat.proxies.socks import socks4, socks5
from tests.proxies.play import at, play

pytestmark = pytest.mark.one_python

GRANTED_5 = b"\x05\x00" + b"\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38"
GRANTED_4 = b"\x00\x5a\x04\x38\x0a\x00\x00\x01"
NAME = at("mail.example:25")


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("mail.example:25", b"\x03\x0cmail.example\x00\x19"),
        ("192.0.2.7:65535", b"\x01\xc0\x00\x02\x07\xff\xff"),
        ("[2001:db8::7]:80", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x07\x00\x50"),
        ("127.1:80", b"\x03\x05127.1\x00\x50"),  # an address for some, a name for others: the proxy decides
        (f"{'x' * 252}:1", b"\x03\xfc" + b"x" * 252 + b"\x00\x01"),
    ],
)
def test_5_an_address_goes_as_one_and_a_name_as_it_is(target: str, address: bytes) -> None:
    """No proxy has to guess, and no name is resolved here."""
    assert play(socks5(at(target)), GRANTED_5).said == b"\x05\x01\x00" + b"\x05\x01\x00" + address


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (b"\x01\x0a\x00\x00\x01\x04\x38", "10.0.0.1:1080"),
        (b"\x04" + bytes(15) + b"\x01\x04\x38", "[::1]:1080"),
        (b"\x03\x04gate\x04\x38", "gate:1080"),
        (b"\x03\x00\x04\x38", ""),
        (b"\x03\x05\x1b[2J\n\x04\x38", ""),  # no name, and nothing that a terminal should see
        (b"\x01\x00\x00\x00\x00\x00\x00", ""),
        (b"\x04" + bytes(18), ""),
    ],
)
def test_5_what_is_behind_the_answer_is_not_touched(bound: bytes, text: str) -> None:
    """The bound address has three forms, each of its own length; many proxies say 0.0.0.0:0."""
    played = play(socks5(NAME), b"\x05\x00" + b"\x05\x00\x00" + bound + b"220 hello\r\n")
    assert (played.bound, played.rest) == (text, b"220 hello\r\n")


def test_5_user_name_and_password() -> None:
    """RFC 1929, where the proxy wants it: not before."""
    dialog = socks5(NAME, "us\udcffer", "pä")
    played = play(dialog, b"\x05\x02" + b"\x01\x00" + GRANTED_5[2:])
    assert played.said[:4] == b"\x05\x02\x00\x02"
    assert played.said[4:].startswith(b"\x01\x05us\xffer\x03p\xc3\xa4" + b"\x05\x01\x00")
    assert b"us" not in play(socks5(NAME, "user", "secret"), GRANTED_5).said


@pytest.mark.parametrize("version", [b"\x01", b"\x05"])
def test_5_credentials_are_refused(version: bytes) -> None:
    """Some answer with the version of SOCKS in place of the dialog's own."""
    with pytest.raises(Refusal, match="it refused the user name and the password") as caught:
        play(socks5(NAME, "user", "secret"), b"\x05\x02" + version + b"\x01")
    assert caught.value.kind == "credentials"


@pytest.mark.parametrize(
    ("user", "method", "text", "kind"),
    [
        (None, b"\xff", "it wants a user name and a password", "credentials"),
        ("user", b"\xff", "it takes no user name and password", "credentials"),
        (None, b"\x02", r"an authentication that was not offered \(method 2\)", "other"),
        ("user", b"\x01", r"an authentication that was not offered \(method 1\)", "other"),
    ],
)
def test_5_no_method_in_common(user: str | None, method: bytes, text: str, kind: str) -> None:
    """What it asks for, in words."""
    with pytest.raises(Refusal, match=text) as caught:
        play(socks5(NAME, user, "secret"), b"\x05" + method)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("reply", "text", "kind"),
    [
        (1, "it could not reach mail.example:25 (general failure)", "target"),
        (2, "it refused to connect to mail.example:25 (not allowed by its rules)", "other"),
        (3, "it could not reach mail.example:25 (network unreachable)", "target"),
        (4, "it could not reach mail.example:25 (host unreachable)", "target"),
        (5, "it could not reach mail.example:25 (connection refused)", "target"),
        (6, "it could not reach mail.example:25 (TTL expired)", "target"),
        (7, "it refused to connect to mail.example:25 (command not supported)", "other"),
        (8, "it refused to connect to mail.example:25 (address type not supported)", "other"),
        (9, "it refused to connect to mail.example:25 (reply code 9)", "other"),
    ],
)
def test_5_every_reply_in_words(reply: int, text: str, kind: str) -> None:
    """Two bytes of it are enough: some send no more."""
    with pytest.raises(Refusal) as caught:
        play(socks5(NAME), b"\x05\x00" + bytes((5, reply)))
    assert (caught.value.text, caught.value.kind) == (text, kind)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400", b"\x05\x00HTTP", b"\x05\x00\x05\x00\x00\x02", b"\x15\x03\x01"])
def test_5_nonsense(answer: bytes) -> None:
    """Another protocol, or a kind of address that there is not."""
    with pytest.raises(Refusal, match="its answer is not SOCKS 5") as caught:
        play(socks5(NAME), answer)
    assert caught.value.kind == "nonsense"


@pytest.mark.parametrize(
    ("target", "user", "said"),
    [
        ("192.0.2.7:25", None, b"\x04\x01\x00\x19\xc0\x00\x02\x07\x00"),
        ("192.0.2.7:25", "us", b"\x04\x01\x00\x19\xc0\x00\x02\x07us\x00"),
        ("mail.example:25", None, b"\x04\x01\x00\x19\x00\x00\x00\x01\x00mail.example\x00"),
        ("mail.example:25", "us", b"\x04\x01\x00\x19\x00\x00\x00\x01us\x00mail.example\x00"),
    ],
)
def test_4_address_or_name(target: str, user: str | None, said: bytes) -> None:
    """4a has the name behind an address that nobody has."""
    played = play(socks4(at(target), user), GRANTED_4 + b"220 hello\r\n")
    assert played == (said, "10.0.0.1:1080", b"220 hello\r\n")


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (91, "it could not reach mail.example:25 (rejected or failed)", "target"),
        (92, "it refused to connect to mail.example:25 (it cannot reach our identd)", "credentials"),
        (93, "it refused to connect to mail.example:25 (our identd names another user)", "credentials"),
        (0, "it refused to connect to mail.example:25 (reply code 0)", "other"),
    ],
)
def test_4_every_reply_in_words(code: int, text: str, kind: str) -> None:
    """There are few."""
    with pytest.raises(Refusal) as caught:
        play(socks4(NAME), bytes((0, code)))
    assert (caught.value.text, caught.value.kind) == (text, kind)


def test_4_nonsense() -> None:
    """The first byte of an answer is 0."""
    with pytest.raises(Refusal, match="its answer is not SOCKS 4"):
        play(socks4(NAME), b"\x05\xff")


def test_4_has_no_ipv6() -> None:
    """Whoever calls it has looked before."""
    with pytest.raises(ValueError, match="no IPv6"):
        play(socks4(at("[::1]:25")), b"")


@given(st.binary(max_size=40))
def test_any_answer_is_an_end_or_a_refusal(answer: bytes) -> None:
    """Or waits for more; nothing else is raised."""
    for dialog in (socks5(NAME), socks5(NAME, "user", "secret"), socks4(NAME)):
        with suppress(Refusal):
            play(dialog, answer)
