"""AMQP: the same eight bytes, or no go-ahead."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import AMQP_TLS, refused


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"AMQP\x00\x01\x00\x00", "the server refused TLS: its header is for protocol 0"),
        (b"AMQP\x03\x01\x00\x00", "the server refused TLS: its header is for protocol 3"),
        (b"AMQP\x00\x00\x09\x01", "the server refused TLS: its header is for protocol 0"),  # RabbitMQ
        (b"AMQP\x02\x01\x00\x01", "the server refused TLS: its header is for protocol 2"),
        (b"AMQQ\x02\x01\x00\x00", "the server's answer to the TLS header is not AMQP"),
        (b"HTTP", "the server's answer to the TLS header is not AMQP"),
    ],
)
def test_sec_r2_refusal(said: bytes, message: str) -> None:
    """The same eight bytes, to the last one, or it is another protocol."""
    error = refused("amqp", said)
    assert (error.message, error.said) == (message, said)
    assert said != AMQP_TLS
