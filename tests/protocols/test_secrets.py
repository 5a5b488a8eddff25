"""Lines that carry secrets, in each protocol that is spoken by hand."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfcat.protocols.secrets import SecretGuard

pytestmark = pytest.mark.one_python

unhurried = settings(deadline=None)  # a slow machine is no failure

# Protocol, line, how it may be shown.
SECRET = [
    ("smtp", b"AUTH PLAIN AGpvZQBzZWNyZXQ=", b"AUTH PLAIN ****"),
    ("smtp", b"auth login am9l", b"auth login ****"),
    ("lmtp", b"AUTH XOAUTH2 dXNlcj1", b"AUTH XOAUTH2 ****"),
    ("pop3", b"AUTH SCRAM-SHA-256 biws", b"AUTH SCRAM-SHA-256 ****"),
    ("pop3", b"PASS secret", b"PASS ****"),
    ("pop3", b"APOP joe c4c9334bac560ecc979e58001b3e22fb", b"APOP joe ****"),
    ("imap", b"a1 LOGIN joe secret", b"a1 LOGIN ****"),
    ("imap", b'a1 login "joe" "se cret"', b"a1 login ****"),
    ("imap", b"a1 AUTHENTICATE PLAIN AGpvZQBzZWNyZXQ=", b"a1 AUTHENTICATE PLAIN ****"),
    ("sieve", b'AUTHENTICATE "PLAIN" "AGpvZQ=="', b'AUTHENTICATE "PLAIN" ****'),
    ("ftp", b"PASS secret", b"PASS ****"),
    ("ftp", b"ACCT secret", b"ACCT ****"),
    ("nntp", b"AUTHINFO PASS secret", b"AUTHINFO PASS ****"),
    ("nntp", b"AUTHINFO SASL PLAIN AGpv", b"AUTHINFO SASL PLAIN ****"),
    ("irc", b"PASS secret", b"PASS ****"),
    ("irc", b"OPER joe secret", b"OPER joe ****"),
    ("irc", b"AUTHENTICATE AGpvZQBzZWNyZXQ=", b"AUTHENTICATE ****"),
    ("irc", b"PRIVMSG NickServ :IDENTIFY secret", b"PRIVMSG NickServ :IDENTIFY ****"),
    ("irc", b"NS IDENTIFY secret", b"NS IDENTIFY ****"),
    ("redis", b"AUTH secret", b"AUTH ****"),
    ("redis", b"HELLO 3 AUTH default secret", b"HELLO 3 AUTH ****"),
    ("redis", b"CONFIG SET requirepass secret", b"CONFIG SET requirepass ****"),
    ("redis", b"ACL SETUSER joe on >secret", b"ACL SETUSER joe ****"),
    ("http", b"Authorization: Basic am9lOnNlY3JldA==", b"Authorization: Basic ****"),
    ("http", b"authorization: secret", b"authorization: ****"),
    ("http", b"Proxy-Authorization: Bearer abc", b"Proxy-Authorization: Bearer ****"),
    ("http", b"Cookie: session=secret", b"Cookie: ****"),
    ("http", b"Cookie: <auth>secret", b"Cookie: ****"),
    ("nats", b'CONNECT {"user":"joe","pass":"secret"}', b"CONNECT ****"),
    ("nats", b'connect{ "auth_token" : "secret" }', b"connect****"),
    ("nats", b'CONNECT {"jwt":"eyJ0eXAi","nkey":"UABC","sig":"c2ln"}', b"CONNECT ****"),
    ("nats", b'CONNECT {"Pass":"secret"}', b"CONNECT ****"),
    ("nats", b'CONNECT {"\\u0070ass":"secret"}', b"CONNECT ****"),
    ("irc", b"PRIVMSG NickServ@services.x :IDENTIFY joe secret", b"PRIVMSG NickServ@services.x :IDENTIFY ****"),
    ("irc", b"@label=1 PASS secret", b"@label=1 PASS ****"),
    ("irc", b"NS SET PASSWORD secret", b"NS SET PASSWORD ****"),
    ("irc", b"PRIVMSG NickServ :REGISTER secret joe@example", b"PRIVMSG NickServ :REGISTER ****"),
    ("irc", b"REGISTER joe joe@example secret", b"REGISTER joe joe@example ****"),
    ("irc", b"PRIVMSG Q@CServe.quakenet.org :AUTH joe secret", b"PRIVMSG Q@CServe.quakenet.org :AUTH ****"),
    ("irc", b"SQUERY NickServ :GHOST joe secret", b"SQUERY NickServ :GHOST ****"),
    ("redis", b"HELLO 3 SETNAME me AUTH default secret", b"HELLO 3 SETNAME me AUTH ****"),
    ("redis", b"CONFIG SET maxmemory 1mb requirepass secret", b"CONFIG SET maxmemory 1mb requirepass ****"),
    ("redis", b"MIGRATE h 6379 key 0 5000 AUTH secret", b"MIGRATE h 6379 key 0 5000 AUTH ****"),
    ("redis", b"MIGRATE h 6379 key 0 5000 COPY AUTH2 joe secret", b"MIGRATE h 6379 key 0 5000 COPY AUTH2 ****"),
    ("redis", b"SENTINEL SET mymaster auth-pass secret", b"SENTINEL SET mymaster auth-pass ****"),
    ("redis", b'"AUTH" secret', b'"AUTH" ****'),
    ("http", b"X-Api-Key: secret", b"X-Api-Key: ****"),
    ("http", b"X-Auth-Token: secret", b"X-Auth-Token: ****"),
    ("http", b"x-amz-security-token: secret", b"x-amz-security-token: ****"),
    ("http", b"GET http://joe:secret@example.com/ HTTP/1.1", b"GET http://joe:****"),
    ("http", b"GET /x?a=1&access_token=secret&b=2 HTTP/1.1", b"GET /x?a=1&access_token=****"),
    ("http", b"GET /x?api_key=secret HTTP/1.1", b"GET /x?api_key=****"),
    ("http", b"grant_type=password&username=joe&password=secret", b"grant_type=password&username=joe&password=****"),
    ("xmpp", b"<sasl:auth mechanism='PLAIN'>AGpv</sasl:auth>", b"<sasl:auth mechanism='PLAIN'>****"),
    ("xmpp", b"<auth mechanism='PLAIN'><![CDATA[AGpv]]></auth>", b"<auth mechanism='PLAIN'>****"),
    ("xmpp", b"<authenticate><initial-response>AGpv", b"<authenticate><initial-response>****"),
    (
        "xmpp",
        b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGpv</auth>",
        b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>****",
    ),
]
HARMLESS = [
    *[("smtp", line) for line in (b"EHLO me", b"AUTH LOGIN", b"MAIL FROM:<joe@example>", b"", b"PASSAGE x", b".")],
    *[("imap", line) for line in (b"a1 CAPABILITY", b"a1 AUTHENTICATE PLAIN", b"a1 LOGOUT", b"DONE", b"* OK")],
    *[("pop3", line) for line in (b"USER joe", b"STAT", b"AUTH", b"PASS")],
    *[
        ("irc", line)
        for line in (b"NICK joe", b"AUTHENTICATE PLAIN", b"AUTHENTICATE +", b"PRIVMSG #c :PASS me the salt")
    ],
    *[("redis", line) for line in (b"GET AUTH", b"PING", b"*1", b"$4")],
    *[("http", line) for line in (b"GET / HTTP/1.1", b"Host: example.com", b"PASS secret")],
    *[("nats", line) for line in (b'CONNECT {"verbose":false}', b"PUB pass 5", b"PING", b'PUB "pass" 2')],
    *[("ftp", line) for line in (b"USER joe", b"PASV")],
    *[("gopher", line) for line in (b"PASS secret", b"AUTH PLAIN abc")],
]


@pytest.mark.parametrize(("protocol", "line", "shown"), SECRET)
def test_a_secret_is_known_by_its_verb(protocol: str, line: bytes, shown: bytes) -> None:
    """In its own protocol and where the protocol is not known; the verb may be shown, and the secret not."""
    assert SecretGuard(protocol).is_secret(line)
    assert SecretGuard(None).is_secret(line)
    assert SecretGuard.mask(line) == shown


@pytest.mark.parametrize(("protocol", "line"), HARMLESS)
def test_what_is_no_secret(protocol: str, line: bytes) -> None:
    """A line that only looks like one, or is one in another protocol."""
    assert not SecretGuard(protocol).is_secret(line)


@pytest.mark.parametrize(
    ("protocol", "challenge"),
    [
        ("smtp", b"334 VXNlcm5hbWU6\r\n"),
        ("smtp", b"250-x\r\n334 \r\n"),
        ("lmtp", b"334 \r\n"),
        ("imap", b"+ \r\n"),
        ("imap", b"+\r\n"),
        ("pop3", b"+ abc\r\n"),
        ("nntp", b"383 abc\r\n"),
        ("sieve", b'"abc="\r\n'),
    ],
)
def test_the_answer_to_a_challenge(protocol: str, challenge: bytes) -> None:
    """One line, and the one after it is none again; however the challenge came in pieces."""
    for known in (protocol, None):
        for size in (len(challenge), 1):
            guard = SecretGuard(known)
            for start in range(0, len(challenge), size):
                guard.received(challenge[start : start + size])
            assert guard.would_be_secret(b"c2VjcmV0")
            assert guard.is_secret(b"c2VjcmV0")
            assert not guard.is_secret(b"NOOP")
    assert SecretGuard.mask(b"c2VjcmV0") == b"****"


@pytest.mark.parametrize("line", [b"*", b"DONE", b"done", b""])
def test_no_answer_to_a_challenge(line: bytes) -> None:
    """The exchange is given up, or IMAP's IDLE is."""
    guard = SecretGuard("imap")
    guard.received(b"+ idling\r\n")
    assert not guard.is_secret(line)


@pytest.mark.parametrize(
    ("protocol", "begin", "responses"),
    [
        ("smtp", b"AUTH LOGIN", 2),
        ("smtp", b"AUTH LOGIN am9l", 1),
        ("smtp", b"AUTH PLAIN", 1),
        ("smtp", b"AUTH PLAIN AGpv", 0),
        ("imap", b"a AUTHENTICATE PLAIN", 1),
        ("imap", b"a LOGIN {3}", 1),
        ("imap", b"a LOGIN joe {6+}", 1),
        ("pop3", b"AUTH PLAIN", 1),
        ("sieve", b'AUTHENTICATE "LOGIN"', 2),
        ("nntp", b"AUTHINFO SASL PLAIN", 1),
    ],
)
def test_who_does_not_wait_for_the_challenge(protocol: str, begin: bytes, responses: int) -> None:
    """`printf 'AUTH LOGIN\\r\\nuser\\r\\npassword\\r\\n' | cfcat` sends it all before the server has said a word."""
    guard = SecretGuard(protocol)
    guard.is_secret(begin)
    for _ in range(responses):
        assert guard.is_secret(b"c2VjcmV0")
    assert not guard.is_secret(b"NOOP")


@pytest.mark.parametrize("verdict", [b"235 ok\r\n", b"535-no\r\n", b"504 no\r\n", b"a OK done\r\n", b"-ERR no\r\n"])
def test_a_verdict_ends_the_exchange(verdict: bytes) -> None:
    """What comes next is an ordinary line, not a response."""
    guard = SecretGuard(None)
    guard.is_secret(b"AUTH LOGIN")
    guard.received(verdict)
    assert not guard.is_secret(b"NOOP")


@pytest.mark.parametrize(
    ("words", "secrets"),
    [
        ([b"CONFIG", b"SET", b"requirepass", b"hunter2"], [b"hunter2"]),
        ([b"config", b"set", b"maxmemory", b"1mb", b"masterauth", b"hunter2"], [b"hunter2"]),
        ([b"ACL", b"SETUSER", b"joe", b"on", b">hunter2"], [b"on", b">hunter2"]),
        ([b"HELLO", b"3", b"AUTH", b"joe", b"hunter2"], [b"joe", b"hunter2"]),
        ([b"MIGRATE", b"h", b"1", b"k", b"0", b"9", b"AUTH", b"hunter2"], [b"hunter2"]),
        ([b"SET", b"requirepass", b"x"], []),
        ([b"GET", b"AUTH"], []),
    ],
)
@pytest.mark.parametrize("protocol", ["redis", None])
def test_redis_arrays_are_the_commands_that_they_spell(
    protocol: str | None, words: list[bytes], secrets: list[bytes]
) -> None:
    """Each element is judged with those before it, as if all had been typed in one line."""
    guard = SecretGuard(protocol)
    lines = [b"*%d" % len(words), *(line for word in words for line in (b"$%d" % len(word), word))]
    assert [line for line in lines if guard.is_secret(line)] == secrets
    assert not guard.is_secret(b"PING")


@pytest.mark.parametrize(
    "prompt",
    [
        *(b"Password: ", b"password:", b"Enter PIN:", b"Enter passphrase for key 'x': ", b"login: joe\r\nPasscode: "),
        *(b"joe@host's password: ", b"Password for joe: ", b"\xff\xfb\x01", b"\xff\xfb\x01\r\nSay it: "),
    ],
)
@pytest.mark.parametrize("protocol", ["telnet", "gopher", None])
def test_sec_r29_what_follows_a_prompt_for_a_password(protocol: str | None, prompt: bytes) -> None:
    """One line, which is not to be echoed, however the prompt came in pieces; and no line after it."""
    for size in (len(prompt), 1):
        guard = SecretGuard(protocol)
        for start in range(0, len(prompt), size):
            guard.received(prompt[start : start + size])
        assert guard.is_asked
        assert guard.hides_input
        assert guard.is_secret(b"hunter2")
        assert not guard.hides_input
        assert not guard.is_secret(b"ls")


@pytest.mark.parametrize(
    "text", [b"Password: required\r\n", b"login: ", b"Password accepted.\r\n$ ", b"pin code\r\n", b"spinner: "]
)
def test_what_is_no_prompt_for_a_password(text: bytes) -> None:
    """The words alone, or a line that has ended."""
    guard = SecretGuard(None)
    guard.received(text)
    assert not guard.is_secret(b"hunter2")


def test_a_secret_in_the_next_line() -> None:
    """A header that is folded, an element whose text begins below its tag, a literal."""
    folded = SecretGuard("http")
    lines = [b"Authorization: Basic", b" am9lOnNlY3JldA==", b"\tmore", b"Host: h", b" h"]
    assert [line for line in lines if folded.is_secret(line)] == [
        b"Authorization: Basic",
        b" am9lOnNlY3JldA==",
        b"\tmore",
    ]
    element = SecretGuard("xmpp")
    assert [line for line in (b"<auth mechanism='PLAIN'>", b"AGpv", b"<iq/>") if element.is_secret(line)] == [b"AGpv"]
    literal = SecretGuard("sieve")
    lines = [b'AUTHENTICATE "PLAIN" {16+}', b"AGpvZQBodW50ZXIy", b"NOOP"]
    assert [line for line in lines if literal.is_secret(line)] == lines[:2]


def test_an_error_about_something_else_unmasks_nothing() -> None:
    """What was announced comes, whatever the peer says meanwhile; but for a literal that it has refused."""
    array = SecretGuard("redis")
    for line in (b"*2", b"$4", b"AUTH", b"$9"):
        array.is_secret(line)
    assert array.is_secret(b"hun")
    array.received(b"-ERR unknown command\r\n")
    assert array.is_secret(b"ter2")
    literal, refused = SecretGuard("imap"), SecretGuard("imap")
    literal.is_secret(b"a LOGIN joe {9+}")
    literal.received(b"b NO\r\n")
    assert literal.is_secret(b"hunter2")
    refused.is_secret(b"a LOGIN joe {9}")
    refused.received(b"a NO\r\n")
    assert not refused.is_secret(b"NOOP")


WORST = [
    b"<auth ",
    b"<auth",
    b"a:",
    b"AUTH ",
    b"PASS",
    b" ",
    b"\t",
    b"\xff\xfb\x01",
    b"a=b&",
    b"HELLO 3 a ",
    b"CONFIG SET a b ",
]
WORST += [
    b"MIGRATE a ",
    b"SENTINEL SET a ",
    b"GET http://",
    b"GET /?a=b&",
    b"password",
    b"password ",
    b"X-",
    b"@a ",
    b"{1}",
    b"CONNECT{",
]


@pytest.mark.parametrize("piece", WORST)
def test_sec_r28_every_pattern_is_linear(piece: bytes) -> None:
    """On 64 KiB of what is worst for it: twice as much takes about twice as long, and little of it."""

    def seconds(size: int) -> float:
        line = (piece * (size // len(piece) + 1))[:size]
        began = time.process_time()
        guard = SecretGuard(None)
        guard.received(line)
        guard.is_secret(line)
        SecretGuard.mask(line)
        return time.process_time() - began

    least = min(seconds(64 * 1024) for _ in range(3))
    assert least < 0.5


def test_redis_arrays() -> None:
    """The same command as a client library sends it, an element a line."""
    guard = SecretGuard("redis")
    sent = [b"*3", b"$4", b"AUTH", b"$7", b"default", b"$6", b"secret", b"*2", b"$3", b"GET", b"$4", b"AUTH", b"*1"]
    assert [line for line in sent if guard.is_secret(line)] == [b"default", b"secret"]


@pytest.mark.parametrize("leading", [b" ", b"\t  ", b"\xff\xf4\xff\xf2", b" \xff\xfd\x01"])
def test_a_blank_and_telnets_commands_hide_no_verb(leading: bytes) -> None:
    """The peer takes the line for what it is; and a blank alone makes no secret of one."""
    guard = SecretGuard(None)
    assert guard.is_secret(leading + b"PASS hunter2")
    assert SecretGuard.mask(leading + b"PASS hunter2") == b"PASS ****"
    assert not guard.is_secret(leading + b"anything")


@unhurried
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([line for _, line, _ in SECRET]))))
def test_asking_twice_is_the_same_as_asking_once(lines: list[bytes]) -> None:
    """`would_be_secret` changes nothing, and is in doubt where a line may go on: AUTH TLS."""
    guard, other = SecretGuard(None), SecretGuard(None)
    for line in lines:
        first = guard.would_be_secret(line)
        assert guard.would_be_secret(line) == first
        secret = guard.is_secret(line)
        assert secret == other.is_secret(line)
        assert first or not secret


@unhurried
@given(st.binary(max_size=500))
@example(b"x" * 5000)
def test_whatever_a_peer_says_is_taken(data: bytes) -> None:
    """Without an error, and without being kept: a line without an end is forgotten but for its beginning."""
    guard = SecretGuard(None)
    guard.received(data)
    assert guard.mask(data).endswith(b"****")
    assert len(guard._heard) <= 1024


def test_ftps_request_for_tls_is_no_secret() -> None:
    """Although AUTH is the verb of one elsewhere: neither the line nor what follows; but the beginning of a line is."""
    guard = SecretGuard(None)
    assert not guard.is_secret(b"AUTH TLS")
    assert not guard.is_secret(b"PBSZ 0")
    assert guard.would_be_secret(b"AUTH TLS")
    assert SecretGuard(None).is_secret(b"AUTH TLSsecret")
    assert SecretGuard("redis").is_secret(b"AUTH TLS")
