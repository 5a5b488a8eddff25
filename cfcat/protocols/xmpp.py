"""XMPP, from a client to a server (c2s) and between servers (s2s)."""

from __future__ import annotations

import re
from typing import NamedTuple

from cfcat.errors import DialogError
from cfcat.protocols.dialog import Dialog, Names, Nonsense, Send, Step, Until

__all__ = ["SECRETS", "VERBS", "c2s_client", "s2s_client", "starttls_answer"]

VERBS = (  # RFC 6120
    "<?xml version='1.0'?>",
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client' version='1.0' to='",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='",
    *("<iq type='", "<message to='", "<presence/>", "</stream:stream>"),
)
SECRETS = (rb"(.*?<(?:auth|response|password)\b[^>]*>)[^<]",)

XMPP_TLS = b"urn:ietf:params:xml:ns:xmpp-tls"
XML_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"})
XML_SPACE = b" \t\r\n"
# A tag. A ">" inside of an attribute, which XML allows and nobody writes, makes it none.
TAG = re.compile(
    rb"<(?P<close>/?)(?P<name>[A-Za-z_][\w.:-]*)"
    rb"(?P<attributes>(?:\s+[A-Za-z_][\w.:-]*\s*=\s*(?:'[^'<]*'|\"[^\"<]*\"))*)\s*(?P<empty>/?)>"
)
ATTRIBUTE = re.compile(rb"([\w.:-]+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\")")


def c2s_client(names: Names) -> Dialog:
    """RFC 6120 §5.4. Under TLS a new stream begins; nothing of this one counts."""
    return _client("jabber:client", names)


def s2s_client(names: Names) -> Dialog:
    """RFC 6120 §5.4, between servers."""
    return _client("jabber:server", names)


class Tag(NamedTuple):
    """`<name attributes>` or, where it is `empty`, `<name attributes/>`. `said`: all of it."""

    said: bytes
    name: bytes
    attributes: bytes = b""
    empty: bool = False


def _client(namespace: str, names: Names) -> Dialog:
    domain = names.server_name.translate(XML_ESCAPES)
    header = (
        f"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='{namespace}'"
        f" to='{domain}' version='1.0'>"
    )
    yield Send(header.encode())
    yield from _read_stream_header()
    features = yield from _read_tag("list of features")
    if not _is(features, b"features"):
        raise Nonsense(features.said)
    if not features.empty:
        yield from _skip_to_end(features.name)
    yield Send(b"<starttls xmlns='" + XMPP_TLS + b"'/>")
    yield from starttls_answer()
    return None


def starttls_answer() -> Step[None]:
    """The answer to <starttls/>."""
    tag = yield from _read_tag("answer to <starttls/>")
    if _is(tag, b"failure"):
        raise DialogError("the server refused <starttls/> (<failure/>)", said=tag.said)
    if tag.name != b"proceed" or not tag.empty:
        raise Nonsense(tag.said)
    attributes = [(name, one or other) for name, one, other in ATTRIBUTE.findall(tag.attributes)]
    if attributes != [(b"xmlns", XMPP_TLS)]:
        raise DialogError("the server's <proceed/> is not in the namespace of STARTTLS", said=tag.said)


def _read_stream_header() -> Step[None]:
    what = "stream header"
    tag = yield from _read_tag(what, may_declare=True)
    if tag.name == b"?xml":
        tag = yield from _read_tag(what)
    if not _is(tag, b"stream") or tag.empty:
        raise Nonsense(tag.said)


def _read_tag(what: str, may_declare: bool = False) -> Step[Tag]:
    """Return the next tag of the stream, with nothing but white space before it."""
    text = yield Until(b">", what, b"<" + XML_SPACE)
    said = text.lstrip(XML_SPACE)
    if may_declare and said.startswith(b"<?xml ") and said.endswith(b"?>"):
        return Tag(said, b"?xml")
    match = TAG.fullmatch(said)
    if match is None:
        raise Nonsense(text)
    tag = Tag(said, match["name"], match["attributes"], bool(match["empty"]))
    if match["close"]:
        if _is(tag, b"stream"):
            raise DialogError("the server ended the XMPP stream", said=said)
        raise Nonsense(said)
    if tag.name.endswith(b":error"):
        reason = yield Until(b">", what)
        raise DialogError("the server ended the XMPP stream with an error", said=said + reason)
    return tag


def _skip_to_end(name: bytes) -> Step[None]:
    end = re.compile(rb"</" + re.escape(name) + rb"\s*>$")
    while not end.search((yield Until(b">", "list of features"))):
        pass


def _is(tag: Tag, name: bytes) -> bool:
    return tag.name.rpartition(b":")[2] == name
