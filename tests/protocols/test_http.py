"""HTTP: which answer is the go-ahead, and what is asked."""

from __future__ import annotations

import pytest

from cfcat.protocols import PROTOCOLS, DialogRun, Names
from tests.protocols.scripts import HTTP_SWITCHES, outcome, refused


@pytest.mark.parametrize(
    ("said", "message", "quoted"),
    [
        (b"HTTP/1.1 200 OK\r\n", "the server did not upgrade to TLS (status 200)", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 405 No\r\n", "the server did not upgrade to TLS (status 405)", b"HTTP/1.1 405 No"),
        (b"HTTP/1.0 400\r\n", "the server did not upgrade to TLS (status 400)", b"HTTP/1.0 400"),
        (b"HTTP/1.1 426 \x1b\r\n", "the server did not upgrade to TLS (status 426)", b"HTTP/1.1 426 \x1b"),
        (
            b"HTTP/1.1 100\r\n\r\nHTTP/1.1 501 No\r\n",
            "the server did not upgrade to TLS (status 501)",
            b"HTTP/1.1 501 No",
        ),
        *(
            (
                b"HTTP/1.1 101 x\r\n" + field + b"\r\n\r\n",
                "the server switched to a protocol that is not TLS",
                quoted,
            )
            for field, quoted in (
                (b"Upgrade: websocket", b"websocket"),
                (b"Upgrade: TLS", b"TLS"),
                (b"Upgrade: TLS/1", b"TLS/1"),
                (b"Upgrade: xTLS/1.0", b"xTLS/1.0"),
                (b"Upgrade: TLS/1.0x, h2c", b"TLS/1.0x, h2c"),
                (b"X-Upgrade: TLS/1.0", b""),
                (b"Connection: TLS/1.0", b""),
            )
        ),
    ],
)
def test_sec_r2_refusal(said: bytes, message: str, quoted: bytes) -> None:
    """Nothing is the go-ahead but 101 with a version of TLS in its Upgrade."""
    error = refused("http", said)
    assert (error.message, error.said) == (message, quoted)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"220 mail.example\r\n", "answer to OPTIONS"),
        (b"HTTP/2 101 x\r\n", "answer to OPTIONS"),
        (b"HTTP/1.1 1010\r\n", "answer to OPTIONS"),
        (b"HTTP/1.1  101\r\n", "answer to OPTIONS"),
        (b"HTTP/1.1 101x\r\n", "answer to OPTIONS"),
        (b"HTTP/1.1 101\r\nUpgrade : TLS/1.0\r\n", "header"),
        (b"HTTP/1.1 101\r\n Upgrade: TLS/1.0\r\n", "header"),
        (b"HTTP/1.1 101\r\nUpgrade\r\n", "header"),
    ],
)
def test_sec_r2_nonsense(said: bytes, what: str) -> None:
    """Row 88: other protocols, codes that are no tokens, fields that are none."""
    assert refused("http", said).message == f"the server's {what} is not HTTP"


def test_sec_r1_answer_in_clear_text_is_injected() -> None:
    """What the server has to say to OPTIONS comes under TLS; before that it is another's."""
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    assert outcome("http", [HTTP_SWITCHES + answer]).surplus == len(answer)
    assert outcome("http", [HTTP_SWITCHES + b"\n"]).surplus == 1


@pytest.mark.parametrize(("name", "host"), [("printer.example", b"printer.example"), ("::1", b"[::1]")])
def test_host_is_named(name: str, host: bytes) -> None:
    """In Host, where an IPv6 address has brackets."""
    assert b"\r\nHost: " + host + b"\r\n" in DialogRun(PROTOCOLS["http"], Names("x", name)).to_send()
