"""The server's half of every dialog: against the client's half in any split, what clients say before, and refusals."""

from __future__ import annotations

import contextlib
import json
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.errors import DialogError, InjectionError
from cfcat.protocols import PROTOCOLS, DialogRun, HandshakeWrapper
from tests.protocols.scripts import LDAP_NAME, NAMES, XMPP_START, XMPP_TLS, prelogin, stream_header

pytestmark = pytest.mark.one_python

each_protocol = pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
each_that_waits = pytest.mark.parametrize("protocol", sorted(set(PROTOCOLS) - {"nats"}))
# A client begins TLS behind the server's greeting, or behind its own request: nothing can be said to be injected there.
WITHOUT_ANSWER = {"nats", "mysql"}
CLIENT_HELLO = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(32)


def server(protocol: str) -> DialogRun:
    return DialogRun(PROTOCOLS[protocol], NAMES, as_server=True)


def client(protocol: str) -> DialogRun:
    return DialogRun(PROTOCOLS[protocol], NAMES)


def talk(one: DialogRun, other: DialogRun, cut: list[int]) -> None:
    """Carry bytes between the halves until both are silent, in pieces whose sizes are taken from `cut` in turn."""
    cuts = 0
    while True:
        first, second = one.to_send(), other.to_send()
        if not first and not second:
            return
        for data, to in ((first, other), (second, one)):
            while data:
                size = cut[cuts % len(cut)]
                cuts += 1
                to.feed(data[:size])
                data = data[size:]


def said_by_client(protocol: str) -> bytes:
    """All that our client says on its way to TLS."""
    one, other, said = client(protocol), server(protocol), b""
    while True:
        first, second = one.to_send(), other.to_send()
        if not first and not second:
            return said
        said += first
        if first:
            other.feed(first)
        if second:
            one.feed(second)


@each_protocol
@pytest.mark.parametrize("size", [1, 3, 1 << 16], ids=["byte by byte", "in threes", "whole"])
def test_both_halves_of_a_dialog_come_to_tls(protocol: str, size: int) -> None:
    """Each half takes what the other says, and both are done with nothing left over."""
    one, other = client(protocol), server(protocol)
    talk(one, other, [size])
    assert (one.done, other.done) == (True, True)
    assert (one.surplus, other.surplus) == (0, 0)
    assert isinstance(other.wrapper, HandshakeWrapper) is (protocol == "mssql")


@settings(max_examples=60, deadline=None)
@given(protocol=st.sampled_from(sorted(PROTOCOLS)), cut=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_both_halves_come_to_tls_in_any_split(protocol: str, cut: list[int]) -> None:
    """TCP has no messages: where the pieces end changes nothing."""
    one, other = client(protocol), server(protocol)
    talk(one, other, cut)
    assert (one.done, other.done) == (True, True)


@pytest.mark.parametrize("protocol", sorted(set(PROTOCOLS) - WITHOUT_ANSWER))
@pytest.mark.parametrize("surplus", [b"X", b"EHLO evil\r\n", CLIENT_HELLO])
def test_sec_r1_clear_text_behind_the_request_is_an_injection_and_there_is_no_go_ahead(
    protocol: str, surplus: bytes
) -> None:
    """What comes in one piece with the request for TLS is counted, and nothing is answered."""
    half = server(protocol)
    half.to_send()
    said = said_by_client(protocol)
    with pytest.raises(InjectionError) as caught:
        half.feed(said + surplus)
    assert caught.value.count == half.surplus == len(surplus)
    assert caught.value.message.startswith(f"{len(surplus)} byte")
    assert "after the client's request for TLS" in caught.value.message
    assert half.to_send() == b""


@pytest.mark.parametrize("protocol", sorted(WITHOUT_ANSWER))
def test_a_dialog_whose_last_word_is_the_clients_asks_for_no_byte_more(protocol: str) -> None:
    """MySQL's ClientHello comes right behind SSLRequest, and NATS's behind our INFO: `wanted` ends before it."""
    half = server(protocol)
    half.to_send()
    rest = said_by_client(protocol) + CLIENT_HELLO
    assert half.done is (protocol == "nats")
    while not half.done:
        size = half.wanted
        assert size > 0
        half.feed(rest[:size])
        rest = rest[size:]
    assert rest == CLIENT_HELLO
    assert half.wanted == 0


@each_that_waits
def test_a_client_that_ends_before_its_request_is_named(protocol: str) -> None:
    """The end of the connection is a DialogError that says what was waited for."""
    half = server(protocol)
    with pytest.raises(DialogError, match="the client closed the connection before its "):
        half.feed(b"")


@each_that_waits
def test_row_89_a_client_that_begins_with_tls_is_told_so(protocol: str) -> None:
    """A ClientHello where the protocol begins in clear text: the hint is `--tls on`."""
    half = server(protocol)
    with pytest.raises(DialogError) as caught:
        half.feed(CLIENT_HELLO[:5].replace(b"\0\xc8", b"\x02\0"))
    assert caught.value.speaks_tls
    assert caught.value.message == "the client seems to speak TLS from the first byte"


@each_that_waits
def test_sec_r7_a_client_that_never_asks_is_given_up(protocol: str) -> None:
    """1 MiB of anything is the limit; nothing is kept of it."""
    half = server(protocol)
    for _ in range(17):
        with contextlib.suppress(DialogError):
            half.feed(b"NOOP\r\n" * 11000)
    with pytest.raises(DialogError):
        half.feed(b"STARTTLS\r\n")
    assert not half.done


class Case(NamedTuple):
    """What a client says after the greeting, and how the server answers to the letter; then whether it has gone."""

    protocol: str
    said: bytes
    answer: bytes
    left: str = ""

    def __repr__(self) -> str:
        return f"{self.protocol}: {self.said[:40]!r}"


def packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes((number,)) + body


def tpkt(body: bytes) -> bytes:
    return b"\x03\0" + (5 + len(body)).to_bytes(2, "big") + bytes((len(body),)) + body


def nbd_option(code: int, data: bytes = b"") -> bytes:
    return b"IHAVEOPT" + code.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data


def nbd_reply(code: int, kind: int) -> bytes:
    return bytes.fromhex("0003e889045565a9") + code.to_bytes(4, "big") + kind.to_bytes(4, "big") + bytes(4)


STREAM = (
    b"<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'"
    b" from='server.example' id='cfcat' version='1.0'><stream:features><starttls xmlns='"
    + XMPP_TLS
    + b"'><required/></starttls></stream:features>"
)
SMTP_HELLO = b"250-server.example\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"
FIRST = b"530 5.7.0 Must issue a STARTTLS command first\r\n"
UPGRADE = b"Upgrade: TLS/1.0, HTTP/1.1\r\n"
BIND = bytes.fromhex("300c020101600702010304008000")
FLAGS = b"\0\0\0\3"
PG_SSL, PG_GSS = bytes.fromhex("00000008 04d2162f"), bytes.fromhex("00000008 04d21630")
PG_CANCEL = bytes.fromhex("00000010 04d2162e 00000001 00000002")
PG_START = bytes.fromhex("00000013 00030000") + b"user\0me\0\0\0\0"
PG_ERROR = b"SFATAL\0VFATAL\0C28000\0Mbegin TLS first (sslmode=require)\0\0"
CASES = (
    Case("smtp", b"EHLO me\r\n", SMTP_HELLO),
    Case("smtp", b"helo me\r\n", b"250 server.example\r\n"),
    Case("smtp", b"NOOP\r\nrset\nMAIL FROM:<a@b>\r\n", b"250 2.0.0 OK\r\n" * 2 + FIRST),
    Case("smtp", b"AUTH PLAIN AGEAYg==\r\n", FIRST),
    Case("smtp", b"LHLO me\r\n", FIRST),
    Case("smtp", b"STARTTLS now\r\n", b"501 5.5.4 STARTTLS takes no parameter\r\n"),
    Case("smtp", b"\r\n", FIRST),
    Case("smtp", b"QUIT\r\n", b"221 2.0.0 Bye\r\n", "QUIT"),
    Case("lmtp", b"LHLO me\r\n", SMTP_HELLO),
    Case("lmtp", b"EHLO me\r\n", FIRST),
    Case("pop3", b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"),
    Case("pop3", b"USER me\r\n", b"-ERR begin TLS first (STLS)\r\n"),
    Case("pop3", b"QUIT\r\n", b"+OK bye\r\n", "QUIT"),
    Case("ftp", b"FEAT\r\n", b"211-Features:\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n211 End\r\n"),
    Case("ftp", b"AUTH GSSAPI\r\nUSER x\r\n", b"504 Only AUTH TLS is known here\r\n530 Begin TLS first (AUTH TLS)\r\n"),
    Case("ftp", b"QUIT\r\n", b"221 Bye\r\n", "QUIT"),
    Case("nntp", b"CAPABILITIES\r\n", b"101 Capability list:\r\nVERSION 2\r\nREADER\r\nSTARTTLS\r\n.\r\n"),
    Case("nntp", b"MODE READER\r\nGROUP x\r\n", b"200 Reading allowed\r\n483 Begin TLS first (STARTTLS)\r\n"),
    Case("nntp", b"QUIT\r\n", b"205 Bye\r\n", "QUIT"),
    Case("imap", b"1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n1 OK done\r\n"),
    Case("imap", b"1 NOOP\r\n", b"1 OK done\r\n"),
    Case("imap", b"1 LOGIN me secret\r\n", b"1 NO [PRIVACYREQUIRED] begin TLS first (STARTTLS)\r\n"),
    Case("imap", b"1 LOGIN {2}\r\n2 NOOP\r\n", b"1 NO [PRIVACYREQUIRED] begin TLS first (STARTTLS)\r\n2 OK done\r\n"),
    Case("imap", b"1 LOGIN {2+}\r\nme {8+}\r\n1 LOGOUT\r\n", b"1 NO [PRIVACYREQUIRED] begin TLS first (STARTTLS)\r\n"),
    Case("imap", b"hello\r\n", b"* BAD a command is a tag and a verb\r\n"),
    Case("imap", b"1 LOGOUT\r\n", b"* BYE\r\n1 OK bye\r\n", "LOGOUT"),
    Case("sieve", b"NOOP\r\n", b"OK\r\n"),
    Case("sieve", b'AUTHENTICATE "PLAIN" {6+}\r\nLOGOUT\r\n', b'NO (ENCRYPT-NEEDED) "begin TLS first (STARTTLS)"\r\n'),
    Case("sieve", b"LOGOUT\r\n", b'OK "bye"\r\n', "LOGOUT"),
    Case("xmpp", stream_header(b"jabber:client"), STREAM),
    Case(
        "xmpp", stream_header(b"jabber:client") + b"</stream:stream>", STREAM + b"</stream:stream>", "</stream:stream>"
    ),
    Case(
        "xmpp",
        stream_header(b"jabber:client") + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>",
        STREAM
        + b"<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        + b"</stream:stream>",
        "another request",
    ),
    Case("irc", b"CAP LS 302\r\nNICK me\r\nUSER me 0 * :me\r\n", b":server.example CAP * LS :tls\r\n"),
    Case("irc", b"CAP REQ :tls\r\nCAP END\r\n", b":server.example CAP * ACK :tls\r\n"),
    Case("irc", b"PING :x y\r\n", b":server.example PONG server.example :x y\r\n"),
    Case("irc", b"@a=b :me JOIN #x\r\n", b":server.example 451 * :Begin TLS first (STARTTLS)\r\n"),
    Case("irc", b"QUIT :bye\r\n", b"ERROR :Closing link\r\n", "QUIT"),
    Case("ldap", BIND, bytes.fromhex("3026 020101 6121 0a010d 0400 041a") + b"begin TLS first (StartTLS)"),
    Case("ldap", bytes.fromhex("3005 020102 4200"), b"", "UnbindRequest"),
    Case("ldap", bytes.fromhex("3006 020103 500101"), b""),
    Case(
        "ldap",
        bytes.fromhex("300c 020101 7707 8005") + b"1.2.3",
        bytes.fromhex("3026 020101 7821 0a0102 0400 041a") + b"unknown extended operation",
    ),
    Case("postgres", PG_GSS, b"N"),
    Case("postgres", PG_CANCEL, b"", "CancelRequest"),
    Case("postgres", PG_START, b"E" + (4 + len(PG_ERROR)).to_bytes(4, "big") + PG_ERROR, "StartupMessage"),
    Case(
        "mysql",
        packet(1, (0x0200).to_bytes(4, "little") + bytes(28) + b"me\0"),
        packet(2, b"\xff\x57\x0c#HY000Connections using insecure transport are prohibited"),
        "login in clear text",
    ),
    Case("telnet", bytes.fromhex("fffb18 fffd01"), bytes.fromhex("fffe18 fffc01")),
    Case("telnet", bytes.fromhex("fffa2e01fff0"), b""),
    Case("telnet", bytes.fromhex("fffc2e"), b"", "WONT START_TLS"),
    Case(
        "rdp",
        tpkt(bytes.fromhex("e0 0000 abcd 00") + b"Cookie: mstshash=me\r\n" + bytes.fromhex("01000800 00000000")),
        bytes.fromhex("03000013 0e d0 abcd 1234 00 03000800 01000000"),
        "RDP's own encryption",
    ),
    Case(
        "rdp", tpkt(bytes.fromhex("e0 0000 0000 00")), bytes.fromhex("030000130ed00000123400 03000800 01000000"), "RDP"
    ),
    Case("amqp", b"AMQP\0\1\0\0", b"AMQP\2\1\0\0", "header for protocol 0"),
    Case("nbd", FLAGS + nbd_option(3), nbd_reply(3, 0x80000005)),
    Case("nbd", FLAGS + nbd_option(5, b"x"), nbd_reply(5, 0x80000003)),
    Case("nbd", FLAGS + nbd_option(2), nbd_reply(2, 1), "NBD_OPT_ABORT"),
    Case("nbd", FLAGS + nbd_option(1, b"disk"), b"", "NBD_OPT_EXPORT_NAME"),
    Case("nbd", b"\0\0\0\0", b"", "no fixed newstyle"),
    Case("vnc", b"RFB 003.003\n", bytes(4) + b"\0\0\0\x19RFB 3.8 is needed for TLS", "an RFB older than 3.8"),
    Case("vnc", b"RFB 003.007\n", b"\0\0\0\0\x19RFB 3.8 is needed for TLS", "an RFB older than 3.8"),
    Case("vnc", b"RFB 003.008\n\x01", b"\x01\x13", "another security type"),
    Case("vnc", b"RFB 003.008\n\x13\x00\x01", b"\x01\x13\x00\x02\xff", "another VeNCrypt"),
    Case(
        "vnc",
        b"RFB 003.008\n\x13\x00\x02\0\0\1\1",
        b"\x01\x13\x00\x02\0\3\0\0\1\4\0\0\1\5\0\0\1\6\0",
        "a VeNCrypt subtype without a certificate",
    ),
    Case(
        "http",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\n" + UPGRADE + b"Content-Length: 0\r\n\r\n",
    ),
    Case(
        "http",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nUpgrade: TLS/1.2\r\n\r\nabc",
        b"HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\n" + UPGRADE + b"Content-Length: 0\r\n\r\n",
        "a request without Upgrade",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_server_answers_what_is_said_before_tls_in_the_protocols_words(case: Case) -> None:
    """Asking and refusals go on; who leaves, or has to, hears its last answer first. Byte by byte, too."""
    for size in (1, len(case.said)):
        half = server(case.protocol)
        half.to_send()
        error: DialogError | None = None
        for start in range(0, len(case.said), size):
            try:
                half.feed(case.said[start : start + size])
            except DialogError as caught:
                error = caught
                break
        assert half.to_send() == case.answer
        assert not half.done
        if case.left:
            assert "the client left without asking for TLS (" + case.left in str(error)
        else:
            assert error is None


NONSENSE = (
    ("smtp", b"\xffhello\r\n"),
    ("imap", b"\0"),
    ("xmpp", b"hello"),
    ("xmpp", b"<message>"),
    ("xmpp", b"<stream:stream xmlns:stream='x'/>"),
    ("ldap", b"\x30\x03abc"),
    ("postgres", b"\0\0\0\4\0\0\0\0"),
    ("postgres", bytes.fromhex("00000008 00020000")),
    ("mysql", packet(2, bytes(32))),
    ("mysql", packet(1, bytes(31))),
    ("rdp", bytes.fromhex("0300000a")),
    ("rdp", tpkt(bytes.fromhex("d0 0000 0000 00"))),
    ("mssql", prelogin(1)),
    ("mssql", bytes.fromhex("12 01 0004 0000 01 00")),
    ("amqp", b"AMQX\2\1\0\0"),
    ("nbd", FLAGS + b"IHAVEOPTX"[:8].replace(b"T", b"X") + bytes(8)),
    ("vnc", b"RFB 3.8\n    "),
    ("http", b"EHLO me\r\n"),
    ("http", b"GET / HTTP/1.1\r\nnonsense\r\n"),
)


@pytest.mark.parametrize(("protocol", "said"), NONSENSE)
def test_a_client_of_another_protocol_is_named_and_not_answered(protocol: str, said: bytes) -> None:
    """What makes no sense ends the dialog with what was waited for; nothing is sent but what came before."""
    half = server(protocol)
    half.to_send()
    with pytest.raises(DialogError, match=r"^the client's .* is not "):
        half.feed(said)


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [(b"AUTH TLS", b"234 "), (b"auth ssl", b"234 "), (b"AUTH TLS-C", b"234 ")],
)
def test_ftp_takes_the_older_names_of_auth_tls(request_line: bytes, answer: bytes) -> None:
    """curl asks for AUTH SSL first; lftp for TLS."""
    half = server("ftp")
    half.to_send()
    half.feed(request_line + b"\r\n")
    assert half.done
    assert half.to_send().startswith(answer)


@pytest.mark.parametrize(
    ("asked", "answered", "done"), [(0, 3, True), (1, 1, True), (3, 1, True), (0x80, 3, True), (2, 3, False)]
)
def test_mssql_encrypts_all_or_nothing(asked: int, answered: int, done: bool) -> None:
    """A client that would encrypt its login only is told that all is; one that cannot encrypt has to go."""
    half = server("mssql")
    said = bytearray(client("mssql").to_send())
    said[8 + 0x20] = asked
    with contextlib.nullcontext() if done else pytest.raises(DialogError, match="ENCRYPT_NOT_SUP"):
        half.feed(bytes(said))
    assert half.done is done
    answer = half.to_send()
    assert (answer[0], answer[8 + 0x20]) == (4, answered)


def test_mssql_takes_a_prelogin_of_several_packets() -> None:
    """TDS 2.2.3: only the last packet of a message has its end."""
    half = server("mssql")
    body = client("mssql").to_send()[8:]
    half.feed(b"\x12\0" + (8 + 10).to_bytes(2, "big") + bytes(4) + body[:10])
    half.feed(b"\x12\1" + (8 + len(body) - 10).to_bytes(2, "big") + bytes(4) + body[10:])
    assert half.done


@pytest.mark.parametrize(("requested", "selected"), [(1, 1), (2, 2), (3, 1), (11, 1)])
def test_rdp_prefers_tls_to_nla(requested: int, selected: int) -> None:
    """MS-RDPBCGR 2.2.1.2.1: one of the protocols that were asked for."""
    half = server("rdp")
    half.feed(tpkt(bytes.fromhex("e0 0000 0000 00 01000800") + requested.to_bytes(4, "little")))
    assert half.done
    assert half.to_send()[15:] == selected.to_bytes(4, "little")


def test_postgres_goes_on_to_tls_after_it_has_refused_gss() -> None:
    """libpq asks for GSS encryption first where it has credentials."""
    half = server("postgres")
    half.feed(PG_GSS + PG_SSL)
    assert half.done
    assert half.to_send() == b"NS"


def test_ldap_grants_start_tls_under_the_clients_number() -> None:
    """The response has the messageID of the request, which need not be 1."""
    half = server("ldap")
    half.feed(bytes.fromhex("301e 02020107 7718 8016")[:2] + bytes.fromhex("02020107 7718 8016") + LDAP_NAME)
    assert half.done
    assert half.to_send() == bytes.fromhex("3025 02020107 781f 0a0100 0400 0400 8a16") + LDAP_NAME


def test_nats_info_requires_tls() -> None:
    """It is one line of JSON that clients of NATS can read."""
    info = json.loads(server("nats").to_send().removeprefix(b"INFO "))
    assert info["tls_required"] is True
    assert info["server_name"] == "server.example"


def test_xmpp_takes_a_request_with_an_end_tag_of_its_own() -> None:
    """<starttls></starttls> is the same as <starttls/>."""
    half = server("xmpp")
    half.feed(stream_header(b"jabber:client"))
    half.to_send()
    half.feed(XMPP_START.replace(b"/>", b"></starttls>"))
    assert half.done
    assert half.to_send() == b"<proceed xmlns='" + XMPP_TLS + b"'/>"


def test_xmpp_names_itself_where_the_client_names_nobody() -> None:
    """A header without `to` is answered with our own name, escaped."""
    half = server("xmpp")
    half.feed(stream_header(b"jabber:client").replace(b" to='server.example'", b""))
    assert b" from='server.example'" in half.to_send()
