"""NATS: an INFO that offers TLS is the go-ahead, and nothing else is."""

from __future__ import annotations

import pytest

from cfcat.errors import InjectionError
from tests.protocols.scripts import outcome, refused, start

WITHOUT = "the server does not offer TLS (its INFO has neither tls_required nor tls_available)"


@pytest.mark.parametrize(
    "said",
    [
        b'INFO {"tls_required":true}\r\n',
        b'INFO {"tls_available":true} \r\n',
        b'info\t{ "a" : [{"tls_required":false}], "tls_required" : true }\t\n',
        b'INFO {"tls_required":false,"tls_available":true}\r\n',
    ],
)
def test_one_of_two_members_is_the_go_ahead(said: bytes) -> None:
    """Whatever white space there is; the command is in either case, as in every NATS command."""
    assert outcome("nats", [said]).end == "done"


@pytest.mark.parametrize(
    "said",
    [
        b"INFO {}\r\n",
        b'INFO {"tls_required":false}\r\n',
        b'INFO {"tls_required":"true"}\r\n',
        b'INFO {"tls_required":1}\r\n',
        b'INFO {"TLS_REQUIRED":true}\r\n',
        b'INFO {"a":{"tls_required":true}}\r\n',
        b'INFO {"server_name":"\\"tls_required\\":true"}\r\n',
    ],
)
def test_sec_r2_info_without_tls_is_refused(said: bytes) -> None:
    """Without the capability TLS is impossible. Text in a value, or a member of a member, is not the member."""
    error = refused("nats", said)
    assert (error.message, error.said) == (WITHOUT, b"")


def test_sec_r2_error_in_place_of_the_greeting() -> None:
    """Row 86: the server says why."""
    error = refused("nats", b"-ERR 'maximum connections exceeded'\r\n")
    assert error.message == "the server refused the connection (-ERR)"
    assert error.said == b"-ERR 'maximum connections exceeded'"


@pytest.mark.parametrize(
    "said",
    [
        b'INFO{"tls_required":true}\r\n',
        b'INFOS {"tls_required":true}\r\n',
        b'INFO {"tls_required":true\r\n',
        b'INFO {"tls_required":true} x\r\n',
        b'INFO {"tls_required":true}}\r\n',
        b'INFO {"tls_required":True}\r\n',
        b'INFO {"\xff":0,"tls_required":true}\r\n',
        b'INFO [{"tls_required":true}]\r\n',
        b"INFO {" + b'"a":{' * 10_000 + b"}" * 10_001 + b"\r\n",
        b"INFO {" + b'"a":[' * 10_000 + b"}\r\n",
        b"INFO\r\n",
        b"-ERRS x\r\n",
        b"PING\r\n",
        b"220 mail.example\r\n",
    ],
)
def test_sec_r2_nonsense(said: bytes) -> None:
    """One JSON object, whole, behind the word INFO; how deep it is nested breaks nothing."""
    assert refused("nats", said).message == "the server's greeting is not NATS"


@pytest.mark.parametrize("surplus", [b"\r\n", b"PING\r\n", b'INFO {"tls_required":true}\r\n', b"-ERR 'x'\r\n"])
def test_sec_r1_what_follows_info_is_injected(surplus: bytes) -> None:
    """The server says nothing more before the ClientHello."""
    conversation = start("nats")
    with pytest.raises(InjectionError) as caught:
        conversation.feed(b'INFO {"tls_required":true}\r\n' + surplus)
    assert caught.value.count == len(surplus)
    assert conversation.to_send() == b""


def test_sec_r7_info_of_64_kib_is_the_longest() -> None:
    """With its line end."""
    begin, end = b'INFO {"tls_required":true,"a":"', b'"}\r\n'
    filler = b"x" * (64 * 1024 - len(begin) - len(end))
    assert outcome("nats", [begin + filler + end]).end == "done"
    assert refused("nats", begin + filler + b"x" + end).message == "the server's greeting has no end within 64 KiB"
