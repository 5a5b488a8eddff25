"""XMPP: the one answer that is the go-ahead, and a stream that is read as tags."""

from __future__ import annotations

import time

import pytest

from cfcat.protocols import PROTOCOLS, DialogRun, Names
from tests.protocols.scripts import XMPP_PROCEED, XMPP_START, XMPP_TLS, outcome, refused, start, stream_header

STREAM = b"<?xml version='1.0'?><stream:stream version='1.0'>"
FEATURES = STREAM + b"<stream:features/>"


@pytest.mark.parametrize(
    "said",
    [
        b"<proceed/>",
        b"<proceed></proceed>",
        b"<proceed xmlns=''/>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls '/>",
        b"<proceed xmlns:x='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<proceed xmlns='x' xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls' xmlns='x'/>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'>",
        b"<proceed xmlns=urn:ietf:params:xml:ns:xmpp-tls/>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls\"/>",
        b"<x:proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<proceeds xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<Proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"< proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"</proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"x<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b" x<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<!--<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>-->",
        b"<success xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ],
)
def test_sec_r2_proceed_look_alikes_are_no_go_ahead(said: bytes) -> None:
    """Only the empty element, unprefixed, in the right namespace and with nothing else in it."""
    error = refused("xmpp", FEATURES + said)
    assert "proceed" in error.message or error.message.endswith(" is not XMPP")


@pytest.mark.parametrize(
    ("said", "message", "quoted"),
    [
        (b"<failure xmlns='x'/>", "the server refused <starttls/> (<failure/>)", b"<failure xmlns='x'/>"),
        (b"<failure xmlns='x'>", "the server refused <starttls/> (<failure/>)", b"<failure xmlns='x'>"),
        (b" </stream:stream>", "the server ended the XMPP stream", b"</stream:stream>"),
        (
            b"<stream:error><host-unknown xmlns='x'/>",
            "the server ended the XMPP stream with an error",
            b"<stream:error><host-unknown xmlns='x'/>",
        ),
        (b"<proceed/>", "the server's <proceed/> is not in the namespace of STARTTLS", b"<proceed/>"),
        (b"<iq/>", "the server's answer to <starttls/> is not XMPP", b"<iq/>"),
        (b"</iq>", "the server's answer to <starttls/> is not XMPP", b"</iq>"),
    ],
)
def test_sec_r2_refusal(said: bytes, message: str, quoted: bytes) -> None:
    """Failure, stream errors and the end of the stream are named."""
    error = refused("xmpp", FEATURES + said)
    assert error.message == message
    assert error.said == quoted


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"<html>", "the server's stream header is not XMPP"),
        (b"220 mail.example ESMTP", "the server's stream header is not XMPP"),
        (b"HTTP/1.1 400", "the server's stream header is not XMPP"),
        (b"<stream:stream/>", "the server's stream header is not XMPP"),
        (b"<?xml version='1.0'?><?xml version='1.0'?>", "the server's stream header is not XMPP"),
        (b"<?php?>", "the server's stream header is not XMPP"),
        (b"<!DOCTYPE x>", "the server's stream header is not XMPP"),
        (b"</stream:stream>", "the server ended the XMPP stream"),
        (b"<stream:error><a>", "the server ended the XMPP stream with an error"),
        (STREAM + b"<message>", "the server's list of features is not XMPP"),
        (STREAM + b"<stream:error><host-unknown/>", "the server ended the XMPP stream with an error"),
        (STREAM + b"</stream:stream>", "the server ended the XMPP stream"),
        (STREAM + b"hello", "the server's list of features is not XMPP"),
    ],
)
def test_stream_that_is_none(said: bytes, message: str) -> None:
    """Rows 86 and 88: other protocols, and streams that end before they begin."""
    assert refused("xmpp-server", said).message == message


def test_features_end_with_their_own_tag() -> None:
    """Neither a feature that is called so nor a text is the end."""
    conversation = start("xmpp")
    conversation.feed(STREAM + b"<stream:features><features></features><x>stream:features</x></stream:featuresx>")
    conversation.to_send()
    conversation.feed(XMPP_TLS + b"</stream:features")
    assert conversation.to_send() == b""
    conversation.feed(b"\n>")
    assert conversation.to_send() == XMPP_START


@pytest.mark.parametrize("space", [b" ", b"\n", b"\r\n\t "])
def test_white_space_before_the_go_ahead_is_none_of_it(space: bytes) -> None:
    """Servers keep the connection alive with it; behind the go-ahead it is injected (RFC 6120 §5.4.3.3, SEC-R1)."""
    assert outcome("xmpp", [FEATURES + space + XMPP_PROCEED]).end == "done"
    injected = outcome("xmpp", [FEATURES + XMPP_PROCEED + space])
    assert (injected.end, injected.surplus) == ("injection", len(space))


def test_domain_is_escaped() -> None:
    """The name of the server is a value in XML, whatever it is; other alphabets are UTF-8."""
    names = Names("x", "a'b\"c<d>&é.example")
    header = DialogRun(PROTOCOLS["xmpp"], names).to_send()
    assert b" to='a&apos;b&quot;c&lt;d&gt;&amp;\xc3\xa9.example' " in header
    assert header.count(b">") == 1


@pytest.mark.parametrize(("protocol", "namespace"), [("xmpp", b"jabber:client"), ("xmpp-server", b"jabber:server")])
def test_stream_header(protocol: str, namespace: bytes) -> None:
    """Client to server and server to server differ in the namespace alone."""
    assert start(protocol).to_send() == stream_header(namespace)


@pytest.mark.parametrize(
    "tag",
    [
        b"<" + b"a" * 60000 + b"!>",
        b"<a" + b" " * 60000 + b"!>",
        b"<a" + b" b='c'" * 10000 + b"!>",
        b"<a b='" + b"=" * 60000 + b">",
    ],
)
def test_long_tags_are_soon_read(tag: bytes) -> None:
    """No tag within the limits makes the reader slow."""
    started = time.process_time()
    refused("xmpp", FEATURES + tag)
    assert time.process_time() - started < 1
