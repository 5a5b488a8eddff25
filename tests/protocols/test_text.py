"""The dialogs made of lines: SMTP, LMTP, POP3, IMAP, ManageSieve, FTP, NNTP and IRC. What is no go-ahead."""

from __future__ import annotations

import pytest

from cfcat.errors import InjectionError
from cfcat.protocols import PROTOCOLS, Conversation, Names
from tests.protocols.scripts import outcome, refused, start

EHLO = b"220 x\r\n250 y\r\n"
IMAP = b"* OK x\r\na OK y\r\n"
NNTP = b"200 x\r\n101 y\r\n.\r\n"
SIEVE = b'"STARTTLS"\r\nOK\r\n'


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # the greeting is an error (row 86)
        ("smtp", b"554-no\r\n", "the server refused the connection (code 554)", b"554-no"),
        ("lmtp", b"421 busy\r\n", "the server refused the connection (code 421)", b"421 busy"),
        ("pop3", b"-ERR no\r\n", "the server refused the connection (-ERR)", b"-ERR no"),
        ("imap", b"* BYE no\r\n", "the server ended the IMAP session (BYE)", b"* BYE no"),
        ("imap", b"* bye\r\n", "the server ended the IMAP session (BYE)", b"* bye"),
        ("ftp", b"530 no\r\n", "the server refused the connection (code 530)", b"530 no"),
        ("ftp", b"120 later\r\n", "the server's greeting is code 120, not 220", b"120 later"),
        ("nntp", b"400 no\r\n", "the server refused the connection (code 400)", b"400 no"),
        ("nntp", b"502 no\r\n", "the server refused the connection (code 502)", b"502 no"),
        ("sieve", b'NO "x"\r\n', "the server refused the connection (NO)", b'NO "x"'),
        ("sieve", b'"SIEVE" "x"\r\nBYE\r\n', "the server refused the connection (BYE)", b"BYE"),
        # what comes before STARTTLS is refused
        ("smtp", b"220 x\r\n502 what\r\n", "the server refused EHLO (code 502)", b"502 what"),
        ("lmtp", b"220 x\r\n550 no\r\n", "the server refused LHLO (code 550)", b"550 no"),
        ("smtp", b"220 x\r\n250-y\r\n421 z\r\n", "the server refused EHLO (code 421)", b"421 z"),
        # STARTTLS is refused (R2)
        ("smtp", EHLO + b"454 no\r\n", "the server refused STARTTLS (code 454)", b"454 no"),
        ("smtp", EHLO + b"454-no\r\n", "the server refused STARTTLS (code 454)", b"454-no"),
        ("smtp", EHLO + b"501 no\r\n", "the server refused STARTTLS (code 501)", b"501 no"),
        ("smtp", EHLO + b"530 \x1b[2J\r\n", "the server refused STARTTLS (code 530)", b"530 \x1b[2J"),
        ("lmtp", EHLO + b"502 no\r\n", "the server refused STARTTLS (code 502)", b"502 no"),
        ("pop3", b"+OK\r\n-ERR no\r\n", "the server refused STLS (-ERR)", b"-ERR no"),
        ("imap", IMAP + b"b NO no\r\n", "the server refused STARTTLS (NO)", b"b NO no"),
        ("imap", IMAP + b"b bad no\r\n", "the server refused STARTTLS (BAD)", b"b bad no"),
        ("imap", IMAP + b"* BYE\r\nb OK\r\n", "the server ended the IMAP session (BYE)", b"* BYE"),
        ("imap", b"* OK\r\n* BYE x\r\n", "the server ended the IMAP session (BYE)", b"* BYE x"),
        ("ftp", b"220\r\n431 no\r\n", "the server refused AUTH TLS (code 431)", b"431 no"),
        ("ftp", b"220\r\n500 no\r\n", "the server refused AUTH TLS (code 500)", b"500 no"),
        ("nntp", NNTP + b"483 no\r\n", "the server refused STARTTLS (code 483)", b"483 no"),
        ("nntp", NNTP + b"502 no\r\n", "the server refused STARTTLS (code 502)", b"502 no"),
        ("nntp", NNTP + b"580 no\r\n", "the server refused STARTTLS (code 580)", b"580 no"),
        ("sieve", SIEVE + b"NO\r\n", "the server refused STARTTLS (NO)", b"NO"),
        ("sieve", SIEVE + b'bye "x"\r\n', "the server refused STARTTLS (BYE)", b'bye "x"'),
        ("sieve", SIEVE + b"NO {2}\r\nOK\r\n", "the server refused STARTTLS (NO)", b"NO {2}OK"),
        ("irc", b":s 691 * :no\r\n", "the server refused STARTTLS (numeric 691)", b":s 691 * :no"),
        ("irc", b":s 451 * :no\r\n", "the server refused STARTTLS (numeric 451)", b":s 451 * :no"),
        ("irc", b":s 421 * STARTTLS :no\r\n", "the server refused STARTTLS (numeric 421)", b":s 421 * STARTTLS :no"),
        ("irc", b"ERROR :gone\r\n", "the server ended the IRC session (ERROR)", b"ERROR :gone"),
        # another success is none
        ("smtp", EHLO + b"250 ok\r\n", "the server's answer to STARTTLS is code 250, not 220", b"250 ok"),
        ("smtp", EHLO + b"221 ok\r\n", "the server's answer to STARTTLS is code 221, not 220", b"221 ok"),
        ("smtp", EHLO + b"354 go\r\n", "the server's answer to STARTTLS is code 354, not 220", b"354 go"),
        ("smtp", b"250 x\r\n", "the server's greeting is code 250, not 220", b"250 x"),
        ("smtp", b"220 x\r\n220 y\r\n", "the server's answer to EHLO is code 220, not 250", b"220 y"),
        ("ftp", b"220\r\n220 ok\r\n", "the server's answer to AUTH TLS is code 220, not 234", b"220 ok"),
        ("ftp", b"220\r\n334 ok\r\n", "the server's answer to AUTH TLS is code 334, not 234", b"334 ok"),
        ("nntp", NNTP + b"200 ok\r\n", "the server's answer to STARTTLS is code 200, not 382", b"200 ok"),
        ("nntp", NNTP + b"381 ok\r\n", "the server's answer to STARTTLS is code 381, not 382", b"381 ok"),
        # a go-ahead has one line
        ("smtp", EHLO + b"220-go\r\n", "the server's answer to STARTTLS has more than one line", b"220-go"),
        ("lmtp", EHLO + b"220-\r\n220 go\r\n", "the server's answer to STARTTLS has more than one line", b"220-"),
        ("ftp", b"220\r\n234-x\r\n", "the server's answer to AUTH TLS has more than one line", b"234-x"),
        ("nntp", NNTP + b"382-x\r\n", "the server's answer to STARTTLS has more than one line", b"382-x"),
        ("sieve", SIEVE + b'"OK"\r\n', "the server's answer to STARTTLS is a capability, not OK", b""),
    ],
)
def test_r2_refusal(protocol: str, said: bytes, message: str, quoted: bytes) -> None:
    """Every negative answer is final, says in the protocol's terms what was refused, and keeps the words apart."""
    error = refused(protocol, said)
    assert str(error) == error.message == message
    assert error.said == quoted


@pytest.mark.parametrize(
    "line", [b"2200 go", b"220go", b"220\tgo", b"22 0", b"220.", b"220_", b"+220", b" 220 go", b"22", b""]
)
@pytest.mark.parametrize(("protocol", "begin"), [("smtp", EHLO), ("lmtp", EHLO), ("smtp", b""), ("smtp", b"220 x\r\n")])
def test_r2_smtp_look_alikes_are_no_replies(protocol: str, begin: bytes, line: bytes) -> None:
    """A code is a token of three digits, followed by nothing, a blank or a hyphen."""
    error = refused(protocol, begin + line + b"\r\n")
    assert error.message.endswith((" is not SMTP", " is not LMTP"))


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("ftp", b"220 x\r\n2340 go\r\n"),
        ("ftp", b"220 x\r\n234go\r\n"),
        ("ftp", b"220x\r\n"),
        ("nntp", NNTP + b"3820\r\n"),
        ("nntp", NNTP + b"382go\r\n"),
        ("nntp", b"200-x\r\n"),
        ("nntp", b"200 x\r\n101-y\r\n"),
        ("pop3", b"+OKAY\r\n"),
        ("pop3", b"+ok\r\n"),
        ("pop3", b"+OK\r\n+OKAY\r\n"),
        ("pop3", b"+OK\r\n+OK\tgo\r\n"),
        ("pop3", b"+OK\r\n-ERROR\r\n"),
        ("pop3", b"+OK\r\n+ go\r\n"),
        ("pop3", b"+OK\r\nOK\r\n"),
        ("imap", b"* HELLO\r\n"),
        ("imap", b"* OKAY\r\n"),
        ("imap", b"*OK\r\n"),
        ("imap", b"*  OK\r\n"),
        ("imap", b"* NO x\r\n"),
        ("imap", b"*\r\n"),
        ("imap", b"* OK\r\n+ go on\r\n"),
        ("imap", b"* OK\r\na OKAY\r\n"),
        ("imap", b"* OK\r\nb OK\r\n"),
        ("imap", b"* OK\r\naa OK\r\n"),
        ("imap", b"* OK\r\nA OK\r\n"),
        ("imap", b"* OK\r\na\r\n"),
        ("imap", b"* OK\r\n\r\n"),
        ("imap", IMAP + b"a OK\r\n"),
        ("imap", IMAP + b"c OK\r\n"),
        ("imap", IMAP + b"bOK\r\n"),
        ("imap", IMAP + b"b OKAY\r\n"),
        ("imap", IMAP + b"b  OK\r\n"),
        ("imap", IMAP + b"b PREAUTH\r\n"),
        ("imap", IMAP + b"+ OK\r\n"),
        ("sieve", b"OKAY\r\n"),
        ("sieve", b"SIEVE fileinto\r\n"),
        ("sieve", SIEVE + b"OKAY\r\n"),
        ("sieve", SIEVE + b'OK"x"\r\n'),
        ("sieve", SIEVE + b"OK\t\r\n"),
        ("irc", b":s 6700 * :go\r\n"),
        ("irc", b":s 67 * :go\r\n"),
        ("irc", b":s 670x * :go\r\n"),
        ("irc", b":s\r\n"),
        ("irc", b"@tag\r\n"),
    ],
)
def test_r2_look_alikes_are_nonsense(protocol: str, said: bytes) -> None:
    """Words, codes and tags count whole and in their places only; a foreign tag is an error, not dropped."""
    error = refused(protocol, said)
    assert error.message.endswith(f" is not {PROTOCOLS[protocol].title}")
    assert error.said.rstrip() == said.splitlines()[-1].rstrip()


@pytest.mark.parametrize(
    "line",
    [b":s 672 * :x", b"NOTICE 670 :x", b":670 NOTICE x", b"PRIVMSG x :670", b":s 001 670 :670", b"CAP * LS :tls", b""],
)
def test_irc_drops_whatever_is_no_answer(line: bytes) -> None:
    """Notices, pings and unknown numerics come before the answer on ordinary servers (openssl PR 11327)."""
    assert outcome("irc", [line + b"\r\n"]).end == "open"
    assert outcome("irc", [line + b"\r\n:s 670 * :go\r\n"]).end == "done"


@pytest.mark.parametrize("greeting", [b"* PREAUTH x\r\n", b"* preauth\r\n", b"* PREAUTH [CAPABILITY STARTTLS] x\r\n"])
def test_r4_preauth_makes_starttls_impossible(greeting: bytes) -> None:
    """Not even CAPABILITY is sent: the session is someone else's already (CVE-2020-14093)."""
    error = refused("imap", greeting)
    assert error.message == "the IMAP session is already authenticated (PREAUTH): STARTTLS is not possible"
    assert error.said == greeting.rstrip()


@pytest.mark.parametrize(
    ("protocol", "begin"),
    [
        ("smtp", b"220 x\r\n250 no extensions\r\n"),
        ("imap", b"* OK\r\n* CAPABILITY IMAP4rev1\r\na OK\r\n"),
        ("imap", b"* OK\r\na NO\r\n"),
        ("nntp", b"200 x\r\n101 list\r\n.\r\n"),
        ("nntp", b"200 x\r\n480 log in first\r\n"),
        ("sieve", b'"SIEVE" ""\r\nOK\r\n'),
    ],
)
def test_r3_absent_capability_is_asked_for_all_the_same(protocol: str, begin: bytes) -> None:
    """Whoever strips the capability could forge it too; the answer to STARTTLS decides."""
    conversation = start(protocol)
    conversation.feed(begin)
    assert conversation.to_send().endswith(b"STARTTLS\r\n")


def test_sieve_announced_strings_hide_no_go_ahead_and_no_surplus() -> None:
    """A string by length belongs to its line, whatever is in it; what follows the line is injected (R1)."""
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


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_client_name_is_said_to_the_server(protocol: str) -> None:
    """EHLO and LHLO say who we are, not whom we talk to (gnutls-cli says the latter)."""
    conversation = Conversation(PROTOCOLS[protocol], Names("[127.0.0.1]", "mail.example"))
    conversation.feed(b"220 x\r\n")
    assert conversation.to_send() == (b"EHLO" if protocol == "smtp" else b"LHLO") + b" [127.0.0.1]\r\n"


@pytest.mark.parametrize(
    "name", ["", "a b", "a\r\nMAIL FROM:<x>", "a\n", "a\0", "a\x7f", "a\t", "a\u2028b", "a\xa0b", "\ud800"]
)
@pytest.mark.parametrize("which", ["client_name", "server_name"])
def test_names_with_more_than_a_name_in_them_are_refused(which: str, name: str) -> None:
    """A name cannot bring a command along."""
    with pytest.raises(ValueError, match="not usable as a name"):
        Names(**({"client_name": "a", "server_name": "b"} | {which: name}))


def test_client_name_is_ascii() -> None:
    """EHLO without SMTPUTF8 has no other (RFC 5321 §4.1.2); the domain of XMPP may have."""
    with pytest.raises(ValueError, match="not an ASCII name"):
        Names("bücher.example", "x")
    assert Names("x", "bücher.example").server_name == "bücher.example"


@pytest.mark.parametrize(
    ("protocol", "said", "message"),
    [
        ("smtp", b"SSH-2.0-OpenSSH_9.2", "the server's greeting is not SMTP"),
        ("smtp", b"RFB 003.008\n", "the server's greeting is not SMTP"),
        ("pop3", b"220 mail", "the server's greeting is not POP3"),
        ("imap", b"+OK", "the server's greeting is not IMAP"),
        ("ftp", b"HTTP/1.1 400", "the server's greeting is not FTP"),
        ("nntp", b"\0\0", "the server's greeting is not NNTP"),
        ("sieve", b"* OK", "the server's list of capabilities is not ManageSieve"),
        ("irc", b"\0", "the server's answer to STARTTLS is not IRC"),
        ("irc", b"220 mail.example ESMTP\r\n", "the server's answer to STARTTLS is not IRC"),
        ("irc", b"SSH-2.0-x\r\n", "the server's answer to STARTTLS is not IRC"),
        ("smtp", b"220 x\r\nHELLO", "the server's answer to EHLO is not SMTP"),
        ("pop3", b"+OK\r\n<", "the server's answer to STLS is not POP3"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())
