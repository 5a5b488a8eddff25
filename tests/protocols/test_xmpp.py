"""XMPP: the one answer that is the go-ahead, and a stream that is read as tags."""

from __future__ import annotations

import time

import pytest

from cfcat.errors import DialogError
from cfcat.protocols import PROTOCOLS, DialogRun, Names
from tests.protocols.scripts import (
    XMPP_PROCEED,
    XMPP_START,
    XMPP_TLS,
    Outcome,
    feed,
    outcome,
    refused,
    start,
    stream_header,
)

pytestmark = pytest.mark.one_python

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
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'>x</proceed>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'><x/></proceed>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'><proceed>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></x:proceed>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed/>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed x='y'>",
        b"<proceed xmlns=urn:ietf:params:xml:ns:xmpp-tls/>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls\"/><x>",
        b"<proceed x='>' x='>' xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<x:proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<x:proceed xmlns:y='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<y:proceed xmlns:x='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<x:proceed xmlns:x='urn:ietf:params:xml:ns:xmpp-sasl' xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<proceed:x xmlns:proceed='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<proceeds xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<Proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"< proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"</proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"x<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b" x<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<!--<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>--><x/>",
        b"<![CDATA[<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>]]>",
        b"<?x <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>?>",
        b"<success xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ],
)
def test_sec_r2_proceed_look_alikes_are_no_go_ahead(said: bytes) -> None:
    """Only the element of that name in the right namespace, with nothing in it."""
    error = refused("xmpp", FEATURES + said)
    assert "proceed" in error.message or error.message.endswith(" is not XMPP")


@pytest.mark.parametrize(
    "said",
    [
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls\"/>",
        b"<!--<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>-->",
        b"<!--><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b'<x y=\'<proceed xmlns="urn:ietf:params:xml:ns:xmpp-tls"/>',
    ],
)
def test_sec_r2_part_of_the_answer_is_no_go_ahead(said: bytes) -> None:
    """An element without its end, an open quote, a comment: at the end of the connection it is refused."""
    conversation = start("xmpp")
    error = feed(conversation, FEATURES + said) or feed(conversation, b"")
    assert isinstance(error, DialogError)
    assert not conversation.done


@pytest.mark.parametrize(
    "said",
    [
        b"<proceed xmlns='%s'></proceed>",
        b"<proceed xmlns='%s'\n>\n</proceed\n>",
        b"<proceed xmlns='%s'><!-- > --></proceed>",
        b"<x:proceed xmlns:x='%s'/>",
        b"<x:proceed xmlns='jabber:client' xmlns:x = \"%s\"></x:proceed>",
        b"<proceed a='>' b=\"'>'\" xmlns='%s'/>",
        b"<proceed to='a>b>' xmlns='%s'></proceed>",
        b"<!-- one > --><!---->\n<proceed xmlns='%s'/>",
        b"<!-- <proceed xmlns='%s'/> --> <proceed xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\" />",
    ],
)
def test_proceed_may_be_written_as_xml_lets_it(said: bytes) -> None:
    """End tag, prefix, either quote, ">" in an attribute, comments; SEC-R1: a byte behind it is injected."""
    said = FEATURES + said.replace(b"%s", XMPP_TLS)
    assert outcome("xmpp", [said]) == Outcome("done")
    assert outcome("xmpp", [said[i : i + 1] for i in range(len(said))]) == Outcome("done")
    injected = outcome("xmpp", [said + b" "])
    assert (injected.end, injected.surplus) == ("injection", 1)


@pytest.mark.parametrize(
    ("header", "proceed"),
    [
        (b"<stream:stream xmlns:tls='urn:ietf:params:xml:ns:xmpp-tls'>", b"<tls:proceed/>"),
        (b"<stream xmlns='urn:ietf:params:xml:ns:xmpp-tls'>", b"<proceed/>"),
    ],
)
def test_namespaces_of_the_stream_hold_for_the_answer(header: bytes, proceed: bytes) -> None:
    """Declared by the stream header, unless the element has one of its own."""
    assert outcome("xmpp", [header + b"<features/>" + proceed]) == Outcome("done")
    nearer = proceed.replace(b"/>", b" xmlns='x' xmlns:tls='x'/>")
    assert outcome("xmpp", [header + b"<features/>" + nearer]).end == "dialog"


def test_features_are_read_as_xml() -> None:
    """Their end tag in a comment, in CDATA or in an attribute is not their end."""
    end = b"</stream:features>"
    features = b"<!-- > --><stream:features a='>'>a > b<!--%s--><![CDATA[%s]]><x y=\">\"/>%s"
    assert outcome("xmpp", [STREAM + features % (end, end, end) + XMPP_PROCEED]) == Outcome("done")


@pytest.mark.parametrize(
    ("condition", "host"),
    [
        (b"<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>other.example:5269<", b"other.example:5269"),
        (b"<x:see-other-host xmlns:x='urn:ietf:params:xml:ns:xmpp-streams'>[::1]:5222<", b"[::1]:5222"),
        (b"\n<see-other-host>\x1b[2J<", b"\x1b[2J"),
    ],
)
@pytest.mark.parametrize("begin", [b"<stream:error>", b"<error xmlns='http://etherx.jabber.org/streams'>"])
def test_see_other_host_is_named(begin: bytes, condition: bytes, host: bytes) -> None:
    """Another host is what to try; where the stream ends with it, that host is what is quoted (and so escaped)."""
    error = refused("xmpp", STREAM + begin + condition)
    assert error.message == "the server ended the XMPP stream and names another host (see-other-host)"
    assert error.said == host


@pytest.mark.parametrize("error", [b"<stream:error/>", b"<stream:error><see-other-host/>"])
def test_stream_error_without_more_is_told_at_once(error: bytes) -> None:
    """What is empty has no end to wait for."""
    said = refused("xmpp", STREAM + error)
    assert (said.message, said.said) == ("the server ended the XMPP stream with an error", error)


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
        b"<a b='" + b"=" * 60000 + b"><",
        b"<a b='" + b">" * 70000,
        b"<!--" + b">" * 70000,
    ],
)
def test_long_tags_are_soon_read(tag: bytes) -> None:
    """No tag within the limits makes the reader slow."""
    started = time.process_time()
    refused("xmpp", FEATURES + tag + b">")
    assert time.process_time() - started < 1
