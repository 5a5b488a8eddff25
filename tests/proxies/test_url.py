"""The URL of a proxy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat import OptionsError, Proxy, proxy
from tests.proxies.play import at

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("socks5h://10.0.0.1:1080", ("socks5h", "10.0.0.1", 1080, None, None)),
        ("SOCKS5://gate", ("socks5", "gate", 1080, None, None)),
        ("socks4a://gate:/", ("socks4a", "gate", 1080, None, None)),
        ("http://gate", ("http", "gate", 1080, None, None)),
        ("https://gate", ("https", "gate", 443, None, None)),
        ("https://gate/", ("https", "gate", 443, None, None)),
        ("socks5h://[::1]:9", ("socks5h", "::1", 9, None, None)),
        ("socks5h://[fe80::1%25eth0]", ("socks5h", "fe80::1%eth0", 1080, None, None)),
        ("http://us:pw@gate:3128", ("http", "gate", 3128, "us", "pw")),
        ("http://us%3A%40%ff:p%2Fw%25@gate", ("socks", "", 0, "us:@\udcff", "p/w%")),
        ("socks5://us:p:w@x@gate", ("socks5", "gate", 1080, "us", "p:w@x")),
        ("socks5://us@gate", ("socks5", "gate", 1080, "us", None)),
        ("socks5://us:@gate", ("socks5", "gate", 1080, "us", "")),
        ("socks5://:pw@gate", ("socks5", "gate", 1080, "", "pw")),
        ("socks5://@gate", ("socks5", "gate", 1080, None, None)),
        ("socks5://:@gate", ("socks5", "gate", 1080, None, None)),
        ("socks4://us@gate", ("socks4", "gate", 1080, "us", None)),
    ],
)
def test_what_a_url_says(url: str, expected: tuple[object, ...]) -> None:
    """The ports are curl's; what is percent-encoded is decoded, whatever bytes it is."""
    if expected[0] == "socks":  # for HTTP that user would have a colon
        url, expected = url.replace("http", "socks5"), ("socks5", "gate", 1080, *expected[3:])
    assert proxy(url)[:5] == expected


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("10.0.0.1:1080", "begins with its scheme"),
        ("secret", "begins with its scheme"),
        ("ftp://secret@gate", "the scheme of a proxy is one of"),
        ("socks://gate", "the scheme of a proxy is one of"),
        ("http://", "has no host"),
        ("http://us:secret@", "has no host"),
        ("http://us:secret/word@gate", "in a password, / "),
        ("http://secret:word", "no number as its port"),
        ("http://secret?x@gate", "ends behind its port"),
        ("http://gate/secret", "ends behind its port"),
        ("http://gate#secret", "ends behind its port"),
        ("http://gate:0", "a number from 1 to 65535"),
        ("http://gate:65536", "no usable host and port"),
        ("http://se cret", "no usable host and port"),
        ("http://[::secret]", "no usable host and port"),
        ("http://us%3Aer:secret@gate", "has no colon"),
        ("socks4://us:secret@gate", "no passwords"),
        ("socks4a://us%00er@gate", "no zero byte"),
        (f"socks5://{'u' * 256}:secret@gate", "255 bytes at most"),
        (f"socks5h://us:{'%C3%A4' * 128}@gate", "255 bytes at most"),
    ],
)
def test_what_is_no_url_of_a_proxy(url: str, text: str) -> None:
    """It says what is wrong, and repeats nothing: a password may be anywhere in it."""
    with pytest.raises(OptionsError, match=text) as caught:
        proxy(url)
    for word in ("secret", "word", "gate", "uuu"):
        assert word not in str(caught.value).replace("password", "")


def test_credentials_beside_the_url() -> None:
    """Those in the URL count first; a user in the URL may have a password from elsewhere."""
    assert proxy("http://gate", user="us", password="pw")[3:5] == ("us", "pw")
    assert proxy("http://a:b@gate", user="us", password="pw")[3:5] == ("a", "b")
    assert proxy("http://a@gate", user="us", password="pw")[3:5] == ("a", "pw")
    assert proxy("http://gate", user="us")[3:5] == ("us", None)
    with pytest.raises(OptionsError, match="no colon"):
        proxy("http://gate", user="a:b", password="pw")


def test_it_does_not_show_its_credentials() -> None:
    """In no way that a log or a traceback would use."""
    made = proxy("https://us:secret@[::1]:9")
    assert (made.text, made.address, repr(made)) == ("https://[::1]:9", "[::1]:9", "<Proxy https://[::1]:9>")
    assert "secret" not in f"{made} {made!r} {[made]}"


def test_who_resolves() -> None:
    """The h of socks5h, and the a of socks4a."""
    here = [scheme for scheme in ("socks5", "socks5h", "socks4", "socks4a", "http", "https") if _resolves(scheme)]
    assert here == ["socks5", "socks4"]


def _resolves(scheme: str) -> bool:
    return proxy(f"{scheme}://gate").resolves_here


@pytest.mark.parametrize(
    ("url", "target", "family", "text"),
    [
        ("socks4://gate", "[::1]:25", None, "SOCKS 4 has no IPv6 addresses"),
        ("socks4a://gate", "[::1]:25", None, "SOCKS 4 has no IPv6 addresses"),
        ("socks4://gate", "mail.example:25", "ipv6", "SOCKS 4 has no IPv6 addresses"),
        ("socks5h://gate", "[fe80::1%eth0]:25", None, "the zone of an address means nothing to a proxy"),
    ],
)
def test_targets_that_cannot_be_asked_for(url: str, target: str, family: str | None, text: str) -> None:
    """Before anything is connected to."""
    with pytest.raises(OptionsError, match=text):
        proxy(url).check(at(target), family)


@pytest.mark.parametrize(
    ("url", "target", "family"),
    [
        ("socks4a://gate", "mail.example:25", "ipv6"),  # the proxy's address has that family
        ("socks5://gate", "[::1]:25", "ipv4"),
        ("socks4://gate", "127.0.0.1:25", "ipv4"),
    ],
)
def test_targets_that_can(url: str, target: str, family: str | None) -> None:
    """-4 and -6 are about names that we resolve."""
    proxy(url).check(at(target), family)


@given(st.text(max_size=30))
def test_any_text_is_a_proxy_or_an_error(text: str) -> None:
    """And what is a proxy has a host and a port."""
    for url in (text, f"http://{text}", f"socks5h://us:{text}@gate"):
        try:
            made = proxy(url)
        except OptionsError:
            continue
        assert isinstance(made, Proxy)
        assert made.host
        assert 0 < made.port < 65536
