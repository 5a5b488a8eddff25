"""XMPP, from a client to a server (c2s) and between servers (s2s)."""

from __future__ import annotations

import re
from typing import NamedTuple

from cfcat.errors import DialogError
from cfcat.protocols.dialog import MAX_MESSAGE_BYTES, Dialog, Names, Nonsense, Send, Step, Until, left

__all__ = ["GREETING", "SECRETS", "VERBS", "c2s_client", "c2s_server", "s2s_client", "s2s_server", "starttls_answer"]

VERBS = (  # RFC 6120
    "<?xml version='1.0'?>",
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client' version='1.0' to='",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='",
    *("<iq type='", "<message to='", "<presence/>", "</stream:stream>"),
)
# Prefixed too, and as CDATA; SASL2's <initial-response> (XEP-0388). No "<" in a tag, so that the search is linear.
SECRETS = (rb"(.*?<(?:[\w.-]+:)?(?:auth|response|password|initial-response)\b[^<>]*>)(?:[^<\s]|<!\[CDATA\[)",)

GREETING = rb"<\?xml[^<>]*\?>\s*<stream:stream"  # to a client that has begun in another way
XMPP_TLS = b"urn:ietf:params:xml:ns:xmpp-tls"
XML_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"})
XML_SPACE = b" \t\r\n"
TAG = re.compile(
    rb"<(?P<close>/?)(?P<name>[A-Za-z_][\w.:-]*)"
    rb"(?P<attributes>(?:\s+[A-Za-z_][\w.:-]*\s*=\s*(?:'[^'<]*'|\"[^\"<]*\"))*)\s*(?P<empty>/?)>"
)
ATTRIBUTE = re.compile(rb"([\w.:-]+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\")")
QUOTE = re.compile(rb"['\"]")
COMMENT = b"<!--"
SEE_OTHER_HOST = re.compile(rb"<(?:[\w.-]+:)?see-other-host(?:\s[^>]*)?(?<!/)>")
# What is no tag: how it begins, and how it ends.
SECTIONS = ((COMMENT, b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))


class Tag(NamedTuple):
    """`<name attributes>`; where it is `empty`, `<name attributes/>`; where `closes`, `</name>`. `said`: all of it."""

    said: bytes
    name: bytes
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    empty: bool = False
    closes: bool = False


NO_STREAM = Tag(b"", b"")


def c2s_client(names: Names) -> Dialog:
    """RFC 6120 §5.4. Under TLS a new stream begins; nothing of this one counts."""
    return _client("jabber:client", names)


def s2s_client(names: Names) -> Dialog:
    """RFC 6120 §5.4, between servers."""
    return _client("jabber:server", names)


def _client(namespace: str, names: Names) -> Dialog:
    name = names.server_name
    domain = (f"[{name}]" if ":" in name else name).translate(XML_ESCAPES)  # RFC 7622 §3.2: a literal has brackets
    header = (
        f"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='{namespace}'"
        f" to='{domain}' version='1.0'>"
    )
    yield Send(header.encode())
    stream = yield from _read_stream_header()
    features = yield from _read_tag("list of features")
    if not _is(features, b"features"):
        raise Nonsense(features.said)
    if not features.empty:
        yield from _skip_to_end(features.name)
    yield Send(b"<starttls xmlns='" + XMPP_TLS + b"'/>")
    yield from starttls_answer(stream)
    return None


def starttls_answer(stream: Tag = NO_STREAM) -> Step[None]:
    """The answer to <starttls/>. `stream`: the header, whose namespaces hold for it, where it is known."""
    what = "answer to <starttls/>"
    tag = yield from _read_tag(what)
    if _is(tag, b"failure"):
        raise DialogError("the server refused <starttls/> (<failure/>)", said=tag.said)
    if not _is(tag, b"proceed"):
        raise Nonsense(tag.said)
    if _namespace(tag, stream) != XMPP_TLS:
        raise DialogError("the server's <proceed/> is not in the namespace of STARTTLS", said=tag.said)
    if not tag.empty:
        end = yield from _read_any_tag(what)
        if not end.closes or end.name != tag.name:
            raise Nonsense(tag.said + end.said)


def c2s_server(names: Names) -> Dialog:
    """RFC 6120 §5.4: STARTTLS is the one feature, and required."""
    return _server("jabber:client", names)


def s2s_server(names: Names) -> Dialog:
    """RFC 6120 §5.4, between servers."""
    return _server("jabber:server", names)


def _server(namespace: str, names: Names) -> Dialog:
    header = yield from _read_any_tag("stream header", may_declare=True)
    if not _is(header, b"stream") or header.empty or header.closes:
        raise Nonsense(header.said)
    asked = dict(header.attributes).get(b"to", b"")  # as it is written there, so that it needs no escape here
    source = names.server_name.translate(XML_ESCAPES).encode() if not asked or b"'" in asked else asked
    # The stream's id has to be unpredictable for logins in clear text (§4.7.3), which there are none of.
    yield Send(
        b"<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='"
        + namespace.encode() + b"' from='" + source + b"' id='cfcat' version='1.0'><stream:features>"
        + b"<starttls xmlns='" + XMPP_TLS + b"'><required/></starttls></stream:features>"
    )  # fmt: skip
    request = yield from _read_any_tag("request for TLS")
    if request.closes and _is(request, b"stream"):
        yield Send(b"</stream:stream>")
        raise left("</stream:stream>")
    if not _is(request, b"starttls") or _namespace(request, header) != XMPP_TLS:
        yield Send(
            b"<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
            b"</stream:stream>"
        )
        raise left("another request")
    if not request.empty:
        end = yield from _read_any_tag("request for TLS")
        if not end.closes or end.name != request.name:
            raise Nonsense(request.said + end.said)
    yield Send(b"<proceed xmlns='" + XMPP_TLS + b"'/>")
    return None


def _read_stream_header() -> Step[Tag]:
    tag = yield from _read_tag("stream header", may_declare=True)
    if not _is(tag, b"stream") or tag.empty:
        raise Nonsense(tag.said)
    return tag


def _read_tag(what: str, may_declare: bool = False) -> Step[Tag]:
    """Return the next tag of the stream, which begins an element."""
    tag = yield from _read_any_tag(what, may_declare)
    if tag.closes:
        if _is(tag, b"stream"):
            raise DialogError("the server ended the XMPP stream", said=tag.said)
        raise Nonsense(tag.said)
    if _is(tag, b"error"):
        yield from _read_error(tag, what)
    return tag


def _read_any_tag(what: str, may_declare: bool = False) -> Step[Tag]:
    """Return the next tag of the stream, with nothing before it but white space, comments and, once, `<?xml …?>`."""
    while True:
        said = yield from _read_markup(what)
        is_declaration = may_declare and said.startswith(b"<?xml ")
        may_declare = False
        if not is_declaration and not said.startswith(COMMENT):
            return _tag(said)


def _tag(said: bytes) -> Tag:
    """Raises Nonsense where it is none, has an attribute twice, or has any although it closes."""
    match = TAG.fullmatch(said)
    if match is None or (match["close"] and (match["attributes"] or match["empty"])):
        raise Nonsense(said)
    attributes = tuple((name, one or other) for name, one, other in ATTRIBUTE.findall(match["attributes"]))
    if len(dict(attributes)) < len(attributes):
        raise Nonsense(said)
    return Tag(said, match["name"], attributes, bool(match["empty"]), bool(match["close"]))


def _read_markup(what: str, *, skip_text: bool = False) -> Step[bytes]:
    """Return the next tag, comment or other thing in angle brackets; before it is white space, or text to be skipped.

    A ">" in a quoted attribute or in a comment is not its end.
    """
    piece = yield Until(b">", what, b"" if skip_text else b"<" + XML_SPACE)
    text, bracket, rest = piece.partition(b"<")
    while skip_text and not bracket:
        text, bracket, rest = (yield Until(b">", what)).partition(b"<")
    if not skip_text and text.strip(XML_SPACE):
        raise Nonsense(piece)
    piece = bracket + rest
    start, end = next((section for section in SECTIONS if piece.startswith(section[0])), (b"<", b""))
    markup = bytearray(piece)
    piece = piece.removeprefix(start)
    quote = b""
    while True:
        if not end and b"<" in piece:
            raise Nonsense(bytes(markup))
        quote = quote if end else _open_quote(piece, quote)
        if not quote and piece.endswith(end):
            return bytes(markup)
        piece = yield Until(b">", what)
        markup += piece
        if len(markup) > MAX_MESSAGE_BYTES:
            raise Nonsense(b"", "has no end within 64 KiB")


def _open_quote(piece: bytes, quote: bytes) -> bytes:
    """The quote that is open behind this piece of a tag, where `quote` was before it; b"" is none."""
    for found in QUOTE.findall(piece):
        if not quote:
            quote = found
        elif quote == found:
            quote = b""
    return quote


def _read_error(tag: Tag, what: str) -> Step[None]:
    """Raises what a stream error says (RFC 6120 §4.9)."""
    said = tag.said
    if not tag.empty:
        reason = yield from _read_markup(what)
        said += reason
        if SEE_OTHER_HOST.match(reason):
            host = (yield Until(b"<", what)).removesuffix(b"<")
            raise DialogError("the server ended the XMPP stream and names another host (see-other-host)", said=host)
    raise DialogError("the server ended the XMPP stream with an error", said=said)


def _skip_to_end(name: bytes) -> Step[None]:
    end = re.compile(rb"</" + re.escape(name) + rb"\s*>")
    while not end.fullmatch((yield from _read_markup("list of features", skip_text=True))):
        pass


def _is(tag: Tag, name: bytes) -> bool:
    return tag.name.rpartition(b":")[2] == name


def _namespace(tag: Tag, stream: Tag) -> bytes:
    """The one that the tag is in, by its own declarations or by those of the stream; b"" where it is in none."""
    prefix, colon, _ = tag.name.rpartition(b":")
    return {**dict(stream.attributes), **dict(tag.attributes)}.get(b"xmlns" + colon + prefix, b"")
