"""What real servers say, turn by turn, and what we are to say to it: the good dialogs, for all tests here.

Where a name and a version are given, the wording is that server's; addresses and salts are made up.
"""

from __future__ import annotations

from typing import NamedTuple

from cfcat.errors import DialogError, InjectionError
from cfcat.protocols import PROTOCOLS, DialogRun, Names

__all__ = [
    "AMQP_TLS",
    "HTTP_REQUEST",
    "HTTP_SWITCHES",
    "MYSQL_8",
    "NAMES",
    "NBD_ACK",
    "NBD_GREETING",
    "RFB",
    "SCRIPTS",
    "TELNET_FOLLOWS",
    "XMPP_PROCEED",
    "XMPP_START",
    "XMPP_TLS",
    "Outcome",
    "Script",
    "feed",
    "mysql_greeting",
    "outcome",
    "prelogin",
    "refused",
    "start",
    "stream_header",
]

NAMES = Names(client_name="client.example", server_name="server.example")
LDAP_NAME = b"1.3.6.1.4.1.1466.20037"
XMPP_TLS = b"urn:ietf:params:xml:ns:xmpp-tls"


class Script(NamedTuple):
    """A dialog that ends with the go-ahead. `opening`: what we say unasked; `turns`: (server, we)."""

    protocol: str
    name: str
    opening: bytes
    turns: tuple[tuple[bytes, bytes], ...]

    @property
    def server(self) -> bytes:
        return b"".join(said for said, _ in self.turns)

    def __repr__(self) -> str:
        return f"{self.protocol}: {self.name}"


class Outcome(NamedTuple):
    """How a conversation stands: "open", "done", or failed with a text; how many bytes were injected."""

    end: str
    text: str = ""
    surplus: int = 0


def start(protocol: str, names: Names = NAMES) -> DialogRun:
    return DialogRun(PROTOCOLS[protocol], names)


def feed(conversation: DialogRun, said: bytes) -> DialogError | InjectionError | None:
    """The error that these bytes end with, or None; any other exception fails the test."""
    try:
        conversation.feed(said)
    except (DialogError, InjectionError) as error:
        return error
    return None


def refused(protocol: str, said: bytes) -> DialogError:
    """The error of a dialog that must not go beyond these bytes. It is final, and nothing more is sent."""
    conversation = start(protocol)
    error = feed(conversation, said)
    assert isinstance(error, DialogError), f"not refused: {said!r}"
    assert not conversation.done
    assert conversation.to_send() == b""
    assert feed(conversation, b"220 ok\r\n") is feed(conversation, b"") is error
    return error


def outcome(protocol: str, pieces: list[bytes]) -> Outcome:
    """How a conversation stands after these pieces; what comes after an injection is counted on."""
    conversation = start(protocol)
    error = None
    for piece in filter(None, pieces):
        error = feed(conversation, piece)
        if isinstance(error, DialogError):
            return Outcome("dialog", error.message)
    if isinstance(error, InjectionError):
        return Outcome("injection", error.message, error.count)
    return Outcome("done" if conversation.done else "open")


def mysql_greeting(version: bytes, low: int, high: int, plugin: bytes, mariadb: bytes = bytes(4)) -> bytes:
    """Protocol::HandshakeV10 with its packet header: capabilities in two halves, MariaDB's own after the filler."""
    body = b"\x0a" + version + b"\0" + bytes.fromhex("2a000000") + b"saltsalt\0" + low.to_bytes(2, "little")
    body += b"\x2d\x02\x00" + high.to_bytes(2, "little") + b"\x15" + bytes(6) + mariadb + b"moresaltmore\0" + plugin
    return len(body).to_bytes(3, "little") + b"\0" + body


def prelogin(encryption: int, *, kind: int = 4, status: int = 1) -> bytes:
    """SQL Server's answer: VERSION 15.0.2000 and ENCRYPTION, then INSTOPT, THREADID and MARS."""
    body = bytes.fromhex("00 001f 0006  01 0025 0001  02 0026 0001  03 0027 0000  04 0027 0001  05 0028 0000 ff")
    body += bytes.fromhex("0f0007d00000") + bytes((encryption,)) + b"\0" + b"\0"
    return bytes((kind, status)) + (8 + len(body)).to_bytes(2, "big") + bytes.fromhex("00000100") + body


def stream_header(namespace: bytes) -> bytes:
    return (
        b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='"
        + namespace
        + b"' to='server.example' version='1.0'>"
    )


EHLO = b"EHLO client.example\r\n"
LHLO = b"LHLO client.example\r\n"
STARTTLS = b"STARTTLS\r\n"
XMPP_START = b"<starttls xmlns='" + XMPP_TLS + b"'/>"
XMPP_PROCEED = b"<proceed xmlns='" + XMPP_TLS + b"'/>"
LDAP_REQUEST = bytes.fromhex("301d 020101 7718 8016") + LDAP_NAME
MYSQL_REQUEST = bytes.fromhex("20000001 85ae7f00 00000001 21") + bytes(23)
MYSQL_8 = mysql_greeting(b"8.0.36-0ubuntu0.22.04.1", 0xFFFF, 0xDFFF, b"caching_sha2_password\0")
MARIADB = mysql_greeting(
    b"5.5.5-10.11.6-MariaDB-0+deb12u1", 0xFEF7, 0x81FF, b"mysql_native_password\0", bytes.fromhex("1d000000")
)
TELNET_WILL = bytes.fromhex("fffb2e fffa2e01fff0")
TELNET_FOLLOWS = bytes.fromhex("fffa2e01fff0")
RDP_REQUEST = bytes.fromhex("03000013 0ee0 0000 0000 00 01 00 0800 03000000")
PRELOGIN_REQUEST = bytes.fromhex(
    "12 01 002f 0000 01 00  00 001a 0006  01 0020 0001  02 0021 0001  03 0022 0004  04 0026 0001  ff"
    "090000000000  01  00  00000000  00"
)
AMQP_TLS = b"AMQP\x02\x01\x00\x00"
NBD_GREETING = b"NBDMAGICIHAVEOPT\x00\x03"
NBD_REQUEST = b"\0\0\0\x01IHAVEOPT\0\0\0\x05\0\0\0\0"
NBD_ACK = bytes.fromhex("0003e889045565a9 00000005 00000001 00000000")
NATS_INFO = (
    b'INFO {"server_id":"NBWDMVW7W3PWLNKDHVR3A6S5FBKVZJFB7CAIJIZF4PW56VTRLXTKEORH","version":"2.9.10","proto":1,'
    b'"go":"go1.19.8","host":"127.0.0.1","port":4222,"headers":true,%s,"max_payload":1048576,"client_id":4} \r\n'
)
RFB = b"RFB 003.008\n"
HTTP_REQUEST = b"OPTIONS * HTTP/1.1\r\nHost: server.example\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n"
HTTP_SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n"

SCRIPTS = (
    Script(
        "smtp",
        "postfix",
        b"",
        (
            (b"220-mx.server.example ESMTP Postfix (Debian/GNU)\r\n220 no spam, please\r\n", EHLO),
            (
                b"250-mx.server.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n"
                b"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 CHUNKING\r\n",
                STARTTLS,
            ),
            (b"220 2.0.0 Ready to start TLS\r\n", b""),
        ),
    ),
    Script("smtp", "codes only", b"", ((b"220\r\n", EHLO), (b"250\r\n", STARTTLS), (b"220\r\n", b""))),
    Script(
        "smtp",
        "a go-ahead of three lines",
        b"",
        ((b"220 x\r\n", EHLO), (b"250 y\r\n", STARTTLS), (b"220-2.0.0 go\r\n220-\r\n220 ahead\r\n", b"")),
    ),
    Script("smtp", "lines without CR", b"", ((b"220 x\n", EHLO), (b"250-y\n250 z\n", STARTTLS), (b"220 go\n", b""))),
    Script(
        "lmtp",
        "dovecot",
        b"",
        (
            (b"220 server.example Dovecot (Debian) ready.\r\n", LHLO),
            (b"250-server.example\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 PIPELINING\r\n", STARTTLS),
            (b"220 2.0.0 Begin TLS negotiation now.\r\n", b""),
        ),
    ),
    Script(
        "pop3",
        "dovecot",
        b"",
        ((b"+OK Dovecot (Debian) ready.\r\n", b"STLS\r\n"), (b"+OK Begin TLS negotiation now.\r\n", b"")),
    ),
    Script("pop3", "words only", b"", ((b"+OK\r\n", b"STLS\r\n"), (b"+OK\r\n", b""))),
    Script(
        "imap",
        "dovecot",
        b"",
        (
            (
                b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED]"
                b" Dovecot (Debian) ready.\r\n",
                b"a CAPABILITY\r\n",
            ),
            (
                b"* CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED\r\n"
                b"a OK Pre-login capabilities listed, post-login capabilities have more.\r\n",
                b"b STARTTLS\r\n",
            ),
            (b"b OK Begin TLS negotiation now.\r\n", b""),
        ),
    ),
    Script(
        "imap",
        "untagged lines everywhere, no capability, lower case",
        b"",
        (
            (b"* ok\r\n", b"a CAPABILITY\r\n"),
            (b"* OK still here\r\n* 3 EXISTS\r\na BAD what?\r\n", b"b STARTTLS\r\n"),
            (b"* NO [ALERT] disk\r\n* OK b OK\r\nb ok\r\n", b""),
        ),
    ),
    Script(
        "ftp",
        "vsftpd",
        b"",
        ((b"220 (vsFTPd 3.0.3)\r\n", b"AUTH TLS\r\n"), (b"234 Proceed with negotiation.\r\n", b"")),
    ),
    Script(
        "ftp",
        "pure-ftpd, and lines without codes",
        b"",
        (
            (
                b"220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n220-You are user number 1 of 50"
                b" allowed.\r\n   a banner\r\n2201 is no end\r\n\r\n220 You will be disconnected soon.\r\n",
                b"AUTH TLS\r\n",
            ),
            (b"234 AUTH TLS OK.\r\n", b""),
        ),
    ),
    Script(
        "ftp",
        "not ready at once, and a go-ahead of three lines",
        b"",
        (
            (b"120-busy\r\n later\r\n120 ready in 2 minutes\r\n220 ready\r\n", b"AUTH TLS\r\n"),
            (b"234-AUTH TLS\r\n2345 is no end\r\n234\r\n", b""),
        ),
    ),
    Script("ftp", "RFC 2228's other code", b"", ((b"220\r\n", b"AUTH TLS\r\n"), (b"334 go\r\n", b""))),
    Script(
        "lmtp",
        "a go-ahead of two lines",
        b"",
        ((b"220 x\r\n", LHLO), (b"250 y\r\n", STARTTLS), (b"220-\r\n220\r\n", b"")),
    ),
    Script(
        "nntp",
        "INN",
        b"",
        (
            (b"200 news.example InterNetNews NNRP server INN 2.6.4 ready (posting ok)\r\n", b"CAPABILITIES\r\n"),
            (
                b"101 Capability list:\r\nVERSION 2\r\nIMPLEMENTATION INN 2.6.4\r\nSTARTTLS\r\n..\r\n. \r\n.\r\n",
                STARTTLS,
            ),
            (b"382 Begin TLS negotiation now\r\n", b""),
        ),
    ),
    Script(
        "nntp",
        "CAPABILITIES unknown (openssl #7722)",
        b"",
        (
            (b"201 old news, no posting\r\n", b"CAPABILITIES\r\n"),
            (b"500 What?\r\n", STARTTLS),
            (b"382\r\n", b""),
        ),
    ),
    Script(
        "sieve",
        "pigeonhole",
        b"",
        (
            (
                b'"IMPLEMENTATION" "Dovecot (Debian) Pigeonhole"\r\n"SIEVE" "fileinto reject envelope"\r\n'
                b'"NOTIFY" "mailto"\r\n"SASL" ""\r\n"STARTTLS"\r\n"VERSION" "1.0"\r\nOK "Dovecot (Debian) ready."\r\n',
                STARTTLS,
            ),
            (b'OK "Begin TLS negotiation now."\r\n', b""),
        ),
    ),
    Script(
        "sieve",
        "strings by length, lower case",
        b"",
        (
            (b'"IMPLEMENTATION" {9}\r\nNO\r\nBYE\r\n\r\n{7}\r\nVERSION "1.0"\r\nok\r\n', STARTTLS),
            (b'OK (TAG "x") {13+}\r\nbegin\r\nOK now\r\n', b""),
        ),
    ),
    Script(
        "xmpp",
        "prosody",
        stream_header(b"jabber:client"),
        (
            (
                b"<?xml version='1.0'?><stream:stream id='5bdb9e4a' xmlns='jabber:client' version='1.0' xml:lang='en' "
                b"from='server.example' xmlns:stream='http://etherx.jabber.org/streams'>"
                b"<stream:features><starttls xmlns='" + XMPP_TLS + b"'><required/></starttls></stream:features>",
                XMPP_START,
            ),
            (XMPP_PROCEED, b""),
        ),
    ),
    Script(
        "xmpp",
        "double quotes, white space, mechanisms, no starttls in the list",
        stream_header(b"jabber:client"),
        (
            (
                b'<?xml version="1.0"?>\n<stream:stream\n xmlns="jabber:client" id=\'it "is"\' version="1.0" >\n '
                b"<stream:features>\n<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
                b"<hint>it's \"</hint></mechanisms></stream:features >",
                XMPP_START,
            ),
            (b'<proceed xmlns="' + XMPP_TLS + b'" />', b""),
        ),
    ),
    Script(
        "xmpp-server",
        "no features, another prefix",
        stream_header(b"jabber:server"),
        ((b"<s:stream xmlns:s='http://etherx.jabber.org/streams'><s:features/>", XMPP_START), (XMPP_PROCEED, b"")),
    ),
    Script(
        "irc",
        "InspIRCd, with notices and what else comes",
        STARTTLS,
        (
            (
                b":irc.example NOTICE Auth :*** Looking up your hostname...\r\nNOTICE AUTH :*** 670 Checking Ident\r\n"
                b"\r\nPING :670\r\n:irc.example 439 * :Please wait while we process your connection.\r\n"
                b"@time=2024-01-01T00:00:00.000Z :irc.example NOTICE * :670\r\n",
                b"",
            ),
            (b":irc.example 670 * :STARTTLS successful, go ahead with TLS handshake\r\n", b""),
        ),
    ),
    Script("irc", "the numeric only", STARTTLS, ((b"670\r\n", b""),)),
    Script("ldap", "OpenLDAP", LDAP_REQUEST, ((bytes.fromhex("30 0c 02 01 01 78 07 0a 01 00 04 00 04 00"), b""),)),
    Script(
        "ldap",
        "Active Directory, long lengths and the name",
        LDAP_REQUEST,
        ((bytes.fromhex("308400000028 020101 78840000001f 0a0100 0400 0400 8a16") + LDAP_NAME, b""),),
    ),
    Script(
        "ldap",
        "a number of four bytes, controls, a text",
        LDAP_REQUEST,
        ((bytes.fromhex("3015 020400000001 780b 0a0100 0400 0404 66696e65 a000"), b""),),
    ),
    Script("postgres", "any", bytes.fromhex("00000008 04d2162f"), ((b"S", b""),)),
    Script("mysql", "MySQL 8", b"", ((MYSQL_8, MYSQL_REQUEST),)),
    Script("mysql", "MariaDB", b"", ((MARIADB, MYSQL_REQUEST),)),
    Script(
        "mysql",
        "lower capabilities only, as long as a TLS alert is",
        b"",
        ((b"\x15\0\0\0\x0a3.23\0" + bytes(14) + b"\x08", MYSQL_REQUEST),),
    ),
    Script("telnet", "at once", b"", ((bytes.fromhex("fffd2e"), TELNET_WILL), (TELNET_FOLLOWS, b""))),
    Script(
        "telnet",
        "text, other options, a subnegotiation and a NOP before it",
        b"",
        (
            (
                b"\r\nDebian GNU/Linux\r\nlogin: "
                + bytes.fromhex("fffd18 fffb2e fffc2e fffe01 fff1 ffff 2e")
                + bytes.fromhex("fffa 18 ff fd 2e ffff f0 fff0 fffd2e"),
                TELNET_WILL,
            ),
            (TELNET_FOLLOWS, b""),
        ),
    ),
    Script(
        "rdp",
        "Windows Server, flags set",
        RDP_REQUEST,
        ((bytes.fromhex("03000013 0ed0 0000 1234 00 02 1f 0800 01000000"), b""),),
    ),
    Script(
        "rdp",
        "Windows, NLA required",
        RDP_REQUEST,
        ((bytes.fromhex("03000013 0ed0 0000 1234 00 02 1f 0800 02000000"), b""),),
    ),
    Script("mssql", "SQL Server 2019, on", PRELOGIN_REQUEST, ((prelogin(1), b""),)),
    Script("mssql", "SQL Server, required", PRELOGIN_REQUEST, ((prelogin(3), b""),)),
    Script("amqp", "any", AMQP_TLS, ((AMQP_TLS, b""),)),
    Script("nbd", "nbdkit", b"", ((NBD_GREETING, NBD_REQUEST), (NBD_ACK, b""))),
    Script("nbd", "without no-zeroes", b"", ((b"NBDMAGICIHAVEOPT\x00\x01", NBD_REQUEST), (NBD_ACK, b""))),
    Script(
        "vnc",
        "TigerVNC",
        b"",
        (
            (RFB, RFB),
            (b"\x02\x02\x13", b"\x13"),
            (b"\x00\x02", b"\x00\x02"),
            (b"\x00", b""),
            (b"\x06" + bytes.fromhex("00000102 00000105 00000104 00000106 00000101 00000103"), b"\x00\x00\x01\x04"),
            (b"\x01", b""),
        ),
    ),
    Script(
        "vnc",
        "Apple, X509Plain only",
        b"",
        (
            (b"RFB 003.889\n", RFB),
            (b"\x03\x1e\x13\x02", b"\x13"),
            (b"\x00\x03", b"\x00\x02"),
            (b"\x00\x01\x00\x00\x01\x06", b"\x00\x00\x01\x06"),
            (b"\x01", b""),
        ),
    ),
    Script("nats", "nats-server 2.9", b"", ((NATS_INFO % b'"auth_required":true,"tls_required":true', b""),)),
    Script("nats", "nats-server 2.9, clear text too", b"", ((NATS_INFO % b'"tls_available":true', b""),)),
    Script(
        "http",
        "CUPS 2.4",
        HTTP_REQUEST,
        (
            (
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Keep-Alive\r\nContent-Language: en\r\n"
                b"Content-Length: 0\r\nDate: Thu, 26 Nov 2026 16:59:20 GMT\r\nKeep-Alive: timeout=10\r\n"
                b"Upgrade: TLS/1.2,TLS/1.1,TLS/1.0\r\nAccept-Encoding: gzip, deflate, identity\r\n"
                b"Server: CUPS/2.4 IPP/2.1\r\nX-Frame-Options: DENY\r\n"
                b"Content-Security-Policy: frame-ancestors 'none'\r\n\r\n",
                b"",
            ),
        ),
    ),
    Script("http", "RFC 2817", HTTP_REQUEST, ((HTTP_SWITCHES, b""),)),
    Script(
        "http",
        "answers that come before it, lower case, two fields, no CR, no reason",
        HTTP_REQUEST,
        (
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nUpgrade: h2c\r\n\r\n", b""),
            (b"HTTP/1.1 101\nupgrade:HTTP/1.1\nupgrade: \ttls/1.0\n\n", b""),
        ),
    ),
)
