"""ManageSieve: strings by length, and what is no go-ahead."""

from __future__ import annotations

import pytest

from cfcat.errors import InjectionError
from cfcat.protocols import PROTOCOLS
from tests.protocols.scripts import refused, start

SIEVE = b'"STARTTLS"\r\nOK\r\n'


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # the greeting is an error (row 86)
        ("sieve", b'NO "x"\r\n', "the server refused the connection (NO)", b'NO "x"'),
        ("sieve", b'"SIEVE" "x"\r\nBYE\r\n', "the server refused the connection (BYE)", b"BYE"),
        # STARTTLS is refused (SEC-R2)
        ("sieve", SIEVE + b"NO\r\n", "the server refused STARTTLS (NO)", b"NO"),
        ("sieve", SIEVE + b'bye "x"\r\n', "the server refused STARTTLS (BYE)", b'bye "x"'),
        ("sieve", SIEVE + b"NO {2}\r\nOK\r\n", "the server refused STARTTLS (NO)", b"NO {2}OK"),
        # a go-ahead has one line
        ("sieve", SIEVE + b'"OK"\r\n', "the server's answer to STARTTLS is a capability, not OK", b""),
    ],
)
def test_sec_r2_refusal(protocol: str, said: bytes, message: str, quoted: bytes) -> None:
    """Every negative answer is final, says in the protocol's terms what was refused, and keeps the words apart."""
    error = refused(protocol, said)
    assert str(error) == error.message == message
    assert error.said == quoted


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("sieve", b"OKAY\r\n"),
        ("sieve", b"SIEVE fileinto\r\n"),
        ("sieve", SIEVE + b"OKAY\r\n"),
        ("sieve", SIEVE + b'OK"x"\r\n'),
        ("sieve", SIEVE + b"OK\t\r\n"),
    ],
)
def test_sec_r2_look_alikes_are_nonsense(protocol: str, said: bytes) -> None:
    """Words, codes and tags count whole and in their places only; a foreign tag is an error, not dropped."""
    error = refused(protocol, said)
    assert error.message.endswith(f" is not {PROTOCOLS[protocol].title}")
    assert error.said.rstrip() == said.splitlines()[-1].rstrip()


@pytest.mark.parametrize(
    ("protocol", "begin"),
    [
        ("sieve", b'"SIEVE" ""\r\nOK\r\n'),
    ],
)
def test_sec_r3_absent_capability_is_asked_for_all_the_same(protocol: str, begin: bytes) -> None:
    """An attacker who can remove the capability can also forge it, so only the answer to STARTTLS counts."""
    conversation = start(protocol)
    conversation.feed(begin)
    assert conversation.to_send().endswith(b"STARTTLS\r\n")


@pytest.mark.parametrize(
    ("protocol", "said", "message"),
    [
        ("sieve", b"* OK", "the server's list of capabilities is not ManageSieve"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())


def test_announced_strings_hide_no_go_ahead_and_no_surplus() -> None:
    """A string by length belongs to its line, whatever is in it; what follows the line is injected (SEC-R1)."""
    conversation = start("sieve")
    conversation.feed(b'"X" {4}\r\nOK\r\n')
    assert conversation.to_send() == b""
    conversation.feed(b"\r\nOK\r\n")
    assert conversation.to_send() == b"STARTTLS\r\n"
    conversation.feed(b"OK {4}\r\nOK\r\n")
    assert not conversation.done
    with pytest.raises(InjectionError) as caught:
        conversation.feed(b"\r\nOK\r\n")
    assert caught.value.count == 4
