"""The dialogs made of packets: LDAP, PostgreSQL, MySQL, TDS, Telnet, RDP, VNC, AMQP and NBD. What is no go-ahead."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.errors import DialogError, InjectionError
from tests.protocols.scripts import (
    AMQP_TLS,
    MYSQL_8,
    NBD_ACK,
    NBD_GREETING,
    RFB,
    TELNET_FOLLOWS,
    feed,
    mysql_greeting,
    outcome,
    prelogin,
    refused,
    start,
)

# ------------------------------------------------------------------------------------------------ LDAP


def ldap(result: bytes, *, number: bytes = b"\x02\x01\x01", tag: int = 0x78, after: bytes = b"") -> bytes:
    operation = number + bytes((tag, len(result))) + result + after
    return bytes((0x30, len(operation))) + operation


OK = bytes.fromhex("0a0100 0400 0400")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (1, "the server refused StartTLS (result code 1, operationsError)"),
        (2, "the server refused StartTLS (result code 2, protocolError)"),
        (52, "the server refused StartTLS (result code 52, unavailable)"),
        (100, "the server refused StartTLS (result code 100)"),
    ],
)
def test_r2_ldap_refusal(code: int, message: str) -> None:
    """Any result code but 0 is a refusal; the server's text is kept apart."""
    error = refused("ldap", ldap(b"\x0a\x01" + bytes((code,)) + b"\x04\x00\x04\x05sorry"))
    assert error.message == message
    assert error.said == b"sorry"


def test_r2_ldap_notice_of_disconnection_is_no_answer() -> None:
    """Message 0 is nobody's answer, success or not (RFC 4511 §4.4.1)."""
    notice = OK + bytes.fromhex("8a16") + b"1.3.6.1.4.1.1466.20036"
    for said in (ldap(notice, number=b"\x02\x01\x00"), ldap(OK, number=b"\x02\x01\x00", tag=0x61)):
        assert refused("ldap", said).message == "the server ended the LDAP session (notice of disconnection)"


@pytest.mark.parametrize(
    "said",
    [
        ldap(OK, number=b"\x02\x01\x02"),  # the answer to something else
        ldap(OK, number=b"\x02\x01\xff"),
        ldap(OK, number=b"\x02\x00"),
        ldap(OK, number=b"\x02\x05\x00\x00\x00\x00\x01"),
        ldap(OK, number=b"\x0a\x01\x01"),
        ldap(OK, number=b""),
        ldap(OK, tag=0x61),  # a bind response
        ldap(OK, tag=0x77),  # our own request
        ldap(OK, tag=0x58),
        ldap(b""),
        ldap(bytes.fromhex("0a0100 0400")),
        ldap(bytes.fromhex("0a00 0400 0400")),
        ldap(bytes.fromhex("020100 0400 0400")),
        ldap(bytes.fromhex("0a0100 0400 0401")),  # longer than what is there
        ldap(bytes.fromhex("0a0100 0400 8400")),
        ldap(OK + bytes.fromhex("8a16") + b"1.3.6.1.4.1.1466.20036"),  # another operation's name
        ldap(OK + b"\x8a\x00"),
        ldap(OK + b"\x8a"),
        ldap(OK, after=b"\x00"),
        ldap(OK, after=b"\xa0\x05"),
        ldap(OK, after=b"\x9f\x01\x00"),
        bytes.fromhex("30 80"),  # indefinite length
        bytes.fromhex("30 85 00000000 0c"),
        bytes.fromhex("30 00"),
        bytes.fromhex("30 05 020101 7880"),
        bytes.fromhex("30 0a 020101 7885 00000000 00"),
        b"\x31",
        b"220 mail",
    ],
)
def test_r2_ldap_nonsense(said: bytes) -> None:
    """Lengths are checked against what is there, and everything against the one message that is expected."""
    assert refused("ldap", said).message == "the server's answer to StartTLS is not LDAP"


# -------------------------------------------------------------------------------------------- Postgres


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"N", "the server refused SSLRequest: it does not offer TLS"),
        (
            b"E\0\0\0\x22SFATAL\0C0A000\0Mtype your password here\0\0",
            "the server refused SSLRequest with an error, whose text cannot be trusted",
        ),
        (b"s", "the server's answer to SSLRequest is not PostgreSQL"),
        (b"220 mail", "the server's answer to SSLRequest is not PostgreSQL"),
    ],
)
def test_r2_postgres_refusal_is_never_quoted(said: bytes, message: str) -> None:
    """CVE-2024-10977: not one byte of an answer to SSLRequest is kept, whole or in pieces."""
    error = refused("postgres", said)
    assert error.message == message
    assert error.said == b""


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_postgres_quotes_nothing_whatever_comes(said: bytes) -> None:
    """Every first byte decides by itself: S is the go-ahead, and all behind it is injected (CVE-2021-23222)."""
    conversation = start("postgres")
    error = feed(conversation, said)
    if isinstance(error, DialogError):
        assert (error.said, error.args) == (b"", (error.message, ""))
    else:
        assert said[:1] == b"S"
        assert conversation.surplus == len(said) - 1


# ----------------------------------------------------------------------------------------------- MySQL


@pytest.mark.parametrize(
    ("packet", "message", "quoted"),
    [
        (
            b"\xff\x6a\x04Host '192.0.2.1' is not allowed to connect to this MariaDB server",
            "the server refused the connection (error 1130)",
            b"Host '192.0.2.1' is not allowed to connect to this MariaDB server",
        ),
        (
            b"\xff\x10\x04#08004Too many connections",
            "the server refused the connection (error 1040)",
            b"Too many connections",
        ),
        (b"\xff\x10\x04", "the server refused the connection (error 1040)", b""),
    ],
)
def test_r2_mysql_error_in_place_of_the_greeting(packet: bytes, message: str, quoted: bytes) -> None:
    """Row 86: an ERR packet, with and without an SQL state."""
    error = refused("mysql", bytes((len(packet), 0, 0, 0)) + packet)
    assert (error.message, error.said) == (message, quoted)


@pytest.mark.parametrize("high", [0, 0xFFFF])
def test_r2_mysql_without_client_ssl_is_refused(high: int) -> None:
    """The one dialog where the missing capability is the refusal: nobody could be asked. Nothing is sent."""
    error = refused("mysql", mysql_greeting(b"8.0.36", 0xF7FF, high, b"x\0"))
    assert error.message == "the server does not offer TLS (its greeting is without CLIENT_SSL)"


@pytest.mark.parametrize(
    "said",
    [
        b"\x01" + MYSQL_8[1:3] + b"\x01" + MYSQL_8[4:],  # a sequence number that is not 0
        MYSQL_8[:4] + b"\x09" + MYSQL_8[5:],  # protocol 9
        b"\x00\x00\x00\x00",
        b"\x02\x00\x00\x00\xff\x10",
        b"\x05\x00\x00\x00\x0a8.0.",
        b"\x05\x00\x00\x00\x0a8.0\0",
        b"\x13\x00\x00\x00\x0a8.0\0" + bytes(13) + b"\x08",  # cut in the middle of the capabilities
        b"220 mail.example ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_r2_mysql_nonsense(said: bytes) -> None:
    """Row 88, and greetings that end before their capabilities."""
    error = refused("mysql", said)
    assert error.message == "the server's greeting is not MySQL"
    assert said.startswith(error.said[:4])
    assert len(error.said) == len(said)  # a cut is no reason to quote four bytes only


def test_mysql_capabilities_are_found_behind_any_version() -> None:
    """The version ends with its first NUL, and may be empty; nothing else in the greeting is looked at."""
    for version in (b"", b"x", b"9" * 300):
        assert outcome("mysql", [mysql_greeting(version, 0x0800, 0, b"")]).end == "done"
        assert outcome("mysql", [mysql_greeting(version, 0xF7FF, 0xFFFF, b"")]).end == "dialog"


def test_r1_mysql_second_packet_is_injected() -> None:
    """The greeting is the go-ahead: a packet behind it was sent before anybody asked. The request is not sent."""
    conversation = start("mysql")
    with pytest.raises(InjectionError) as caught:
        conversation.feed(MYSQL_8 + b"\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00")
    assert caught.value.count == 11
    assert conversation.to_send() == b""


# ------------------------------------------------------------------------------------------------- TDS


@pytest.mark.parametrize(
    ("encryption", "message"),
    [
        (0, "the server would encrypt the login only (ENCRYPT_OFF)"),
        (2, "the server does not offer TLS (ENCRYPT_NOT_SUP)"),
        (4, "the server does not offer TLS (ENCRYPT_NOT_SUP)"),
        (0x81, "the server does not offer TLS (ENCRYPT_NOT_SUP)"),
    ],
)
def test_r2_mssql_refusal(encryption: int, message: str) -> None:
    """Only ENCRYPT_ON and ENCRYPT_REQ protect more than the login."""
    assert refused("mssql", prelogin(encryption)).message == message


def options(data: bytes) -> bytes:
    return b"\x04\x01" + (8 + len(data)).to_bytes(2, "big") + bytes(4) + data


def test_r2_mssql_without_encryption_is_refused() -> None:
    """No ENCRYPTION option is a no."""
    for data in (b"\xff", bytes.fromhex("00 0006 0006 ff 0f0007d00000")):
        assert refused("mssql", options(data)).message == "the server does not offer TLS (ENCRYPT_NOT_SUP)"


def test_mssql_options_may_come_in_any_order() -> None:
    """What counts is the value of ENCRYPTION."""
    assert outcome("mssql", [options(bytes.fromhex("01 0006 0001 ff 01"))]).end == "done"
    assert outcome("mssql", [options(bytes.fromhex("05 000b 0000 01 000b 0001 ff 03"))]).end == "done"


@pytest.mark.parametrize(
    "said",
    [
        prelogin(1, kind=0x12),
        prelogin(1, kind=0x10),
        prelogin(1, status=0),
        b"\x04\x01\x00\x07\0\0\0\0",
        options(b""),
        options(bytes.fromhex("01 0006")),
        options(bytes.fromhex("01 0005 0001")),
        options(bytes.fromhex("01 0006 0001 00 01")),  # no terminator
        options(bytes.fromhex("01 0007 0001 ff 01")),  # beyond the end
        options(bytes.fromhex("01 0006 0002 ff 01 01")),
        options(bytes.fromhex("01 0006 0000 ff 01")),
        options(bytes.fromhex("01 0006 0101 ff 01")),
        options(bytes.fromhex("01 0106 0001 ff 01")),
        options(bytes.fromhex("01 000b 0001 01 000c 0001 ff 02 01")),  # twice
        options(bytes.fromhex("01 ffff ffff ff 01")),
        b"220 mail",
    ],
)
def test_r2_mssql_nonsense(said: bytes) -> None:
    """Packet type 4 in one piece, options within it, ENCRYPTION once."""
    assert refused("mssql", said).message == "the server's answer to PRELOGIN is not TDS"


# ---------------------------------------------------------------------------------------------- Telnet


@pytest.mark.parametrize("begin", [b"", b"login: ", bytes.fromhex("fffd18"), bytes.fromhex("fffd2e")])
def test_r2_telnet_dont_is_a_refusal(begin: bytes) -> None:
    """DONT START_TLS before or after DO; not waited for to become six bytes."""
    assert refused("telnet", begin + bytes.fromhex("fffe2e")).message == "the server refused START_TLS (DONT)"


@pytest.mark.parametrize(
    "said",
    [
        b"x",
        b"\r\n" + TELNET_FOLLOWS,
        bytes.fromhex("fffd18") + TELNET_FOLLOWS,
        bytes.fromhex("fffd2e"),
        bytes.fromhex("fffb2e"),
        bytes.fromhex("fffa1801fff0"),
        bytes.fromhex("fffa2e00fff0"),
        bytes.fromhex("fffa2e02fff0"),
        bytes.fromhex("fffa2e01fff1"),
        bytes.fromhex("fffa2e0101fff0"),
        bytes.fromhex("fffa2efff0ff"),
        bytes.fromhex("fffa2e01fffff0"),
    ],
)
def test_r2_telnet_only_follows_is_the_go_ahead(said: bytes) -> None:
    """Exactly SB START_TLS FOLLOWS SE comes after DO START_TLS."""
    assert refused("telnet", bytes.fromhex("fffd2e") + said).message == "the server's FOLLOWS is not Telnet"


@pytest.mark.parametrize(
    "said", ["fffe2f", "fffc2e", "fffb2e", "fffd2f", "fff2 fd2e", "ffff fd2e", "fffa2e fffd2e 01fff0", "fffaf0 fffd2e"]
)
def test_telnet_drops_what_is_not_do_start_tls(said: str) -> None:
    """Other options, data marks, doubled IACs and subnegotiations with anything in them; none is answered."""
    conversation = start("telnet")
    conversation.feed(bytes.fromhex(said))
    assert conversation.to_send() == b""
    conversation.feed(bytes.fromhex("fff0 fffd2e"))
    assert conversation.to_send().startswith(bytes.fromhex("fffb2e"))


# ------------------------------------------------------------------------------------------------- RDP


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("0300000b 06d00000123400", "the server does not offer TLS (no security negotiation)"),
        (
            "03000013 0ed00000123400 0300080005000000",
            "the server refused TLS (failure code 5, HYBRID_REQUIRED_BY_SERVER)",
        ),
        (
            "03000013 0ed00000123400 0300080002000000",
            "the server refused TLS (failure code 2, SSL_NOT_ALLOWED_BY_SERVER)",
        ),
        ("03000013 0ed00000123400 03000800ff000000", "the server refused TLS (failure code 255)"),
        ("03000013 0ed00000123400 0200080000000000", "the server selected security protocol 0, not TLS"),
        ("03000013 0ed00000123400 0200080002000000", "the server selected security protocol 2, not TLS"),
        ("03000013 0ed00000123400 0200080003000000", "the server selected security protocol 3, not TLS"),
        ("03000013 0ed00000123400 0200080000000001", "the server selected security protocol 16777216, not TLS"),
    ],
)
def test_r2_rdp_refusal(said: str, message: str) -> None:
    """RDP_NEG_RSP for exactly PROTOCOL_SSL is the go-ahead; failures have names."""
    assert refused("rdp", bytes.fromhex(said)).message == message


@pytest.mark.parametrize(
    "said",
    [
        "03000013 0ed00000123400 0100080001000000",  # our own request
        "03000013 0ed00000123400 0200090001000000",
        "03000013 0ed00000123400 0200000801000000",
        "03000013 0ee00000123400 0200080001000000",
        "03000013 0e800000123400 0200080001000000",
        "03000013 06d00000123400 0200080001000000",
        "03000012",
        "03000014",
        "03000000",
        "0300ffff",
        "02",
        "32323020",
    ],
)
def test_r2_rdp_nonsense(said: str) -> None:
    """Lengths, types and sizes are those of MS-RDPBCGR 2.2.1.2, or it is no answer."""
    assert refused("rdp", bytes.fromhex(said)).message == "the server's answer to the connection request is not RDP"


# ------------------------------------------------------------------------------------------------- VNC

TO_TYPES = RFB + b"\x01\x13"
TO_SUBTYPES = TO_TYPES + b"\x00\x02\x00"


@pytest.mark.parametrize(
    ("said", "message", "quoted"),
    [
        (b"RFB 003.003\n", "the server speaks an RFB older than 3.8", b"RFB 003.003\n"),
        (b"RFB 003.007\n", "the server speaks an RFB older than 3.8", b"RFB 003.007\n"),
        (RFB + b"\x00\x00\x00\x00\x08too many", "the server refused the connection", b"too many"),
        (
            RFB + b"\x02\x01\x02",
            "the server does not offer TLS (VeNCrypt is not among its security types)",
            b"",
        ),
        (TO_TYPES + b"\x00\x01", "the server speaks a VeNCrypt older than 0.2", b""),
        (TO_TYPES + b"\x00\x02\x01", "the server refused VeNCrypt 0.2", b""),
        (TO_SUBTYPES + b"\x00", "the server offers no VeNCrypt subtype with a certificate", b""),
        (
            TO_SUBTYPES + b"\x05" + bytes.fromhex("00000100 00000101 00000102 00000103 00000001"),
            "the server offers no VeNCrypt subtype with a certificate",
            b"",
        ),
        (TO_SUBTYPES + b"\x01\x00\x00\x01\x05\x00", "the server refused the VeNCrypt subtype", b""),
        (TO_SUBTYPES + b"\x01\x00\x00\x01\x05\x02", "the server refused the VeNCrypt subtype", b""),
        (b"RFB 3.8\n    ", "the server's greeting is not VNC", b"RFB 3.8\n    "),
        (b"RFB 003.008\r", "the server's greeting is not VNC", b"RFB 003.008\r"),
        (b"SSH-2.0-x", "the server's greeting is not VNC", b"SSH-2.0-x"),
    ],
)
def test_r2_vnc_refusal(said: bytes, message: str, quoted: bytes) -> None:
    """Anonymous TLS (257 to 259) proves nothing and is not taken; a subtype is accepted by 1 only."""
    error = refused("vnc", said)
    assert (error.message, error.said) == (message, quoted)


@pytest.mark.parametrize(
    ("offered", "chosen"), [("00000106 00000105", 261), ("00000106", 262), ("00000105 00000104", 260)]
)
def test_vnc_takes_the_certificate_with_the_least_login(offered: str, chosen: int) -> None:
    """X509None before X509Vnc before X509Plain, in whatever order they are offered."""
    subtypes = bytes.fromhex(offered)
    conversation = start("vnc")
    conversation.feed(TO_SUBTYPES + bytes((len(subtypes) // 4,)) + subtypes)
    assert conversation.to_send().endswith(chosen.to_bytes(4, "big"))


# --------------------------------------------------------------------------------------- AMQP and NBD


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
def test_r2_amqp_refusal(said: bytes, message: str) -> None:
    """The same eight bytes, to the last one, or it is another protocol."""
    error = refused("amqp", said)
    assert (error.message, error.said) == (message, said)
    assert said != AMQP_TLS


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53", "the server negotiates in the old style, which has no TLS"),
        (b"NBDMAGICIHAVEOPT\x00\x02", "the server does not offer TLS (no fixed newstyle negotiation)"),
        (b"NBDMAGIXIHAVEOPT", "the server's greeting is not NBD"),
        (b"220", "the server's greeting is not NBD"),
        (NBD_GREETING + NBD_ACK[:-1] + b"\x01", "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + NBD_ACK[:11] + b"\x03" + NBD_ACK[12:], "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + NBD_ACK[:15] + b"\x02" + NBD_ACK[16:], "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + NBD_ACK[:7] + b"\xaa" + NBD_ACK[8:], "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + b"I", "the server's answer to NBD_OPT_STARTTLS is not NBD"),
    ],
)
def test_r2_nbd_nonsense(said: bytes, message: str) -> None:
    """The right magic, the right option, ACK, and no data with it."""
    assert refused("nbd", said).message == message


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (0x80000001, "NBD_REP_ERR_UNSUP"),
        (0x80000002, "NBD_REP_ERR_POLICY"),
        (0x80000003, "NBD_REP_ERR_INVALID"),
        (0x80000004, "NBD_REP_ERR_PLATFORM"),
        (0x80000007, "NBD_REP_ERR_SHUTDOWN"),
        (0x80000000, "error 0x80000000"),
        (0x800000FF, "error 0x800000ff"),
    ],
)
@pytest.mark.parametrize("text", [b"", b"no TLS here"])
def test_r2_nbd_refusal(kind: int, name: str, text: bytes) -> None:
    """An error is named by its constant; its text, where there is one, is kept apart."""
    answer = NBD_ACK[:12] + kind.to_bytes(4, "big") + len(text).to_bytes(4, "big") + text
    error = refused("nbd", NBD_GREETING + answer)
    assert (error.message, error.said) == (f"the server refused TLS ({name})", text)
