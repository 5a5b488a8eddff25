"""Lines that carry secrets, in each protocol that is spoken by hand."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfcat.protocols.secrets import SecretGuard

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


def test_redis_arrays() -> None:
    """The same command as a client library sends it, an element a line."""
    guard = SecretGuard("redis")
    sent = [b"*3", b"$4", b"AUTH", b"$7", b"default", b"$6", b"secret", b"*2", b"$3", b"GET", b"$4", b"AUTH", b"*1"]
    assert [line for line in sent if guard.is_secret(line)] == [b"default", b"secret"]


def test_typed_with_a_blank_before_it() -> None:
    """As in a shell: whoever types it so does not want it remembered. In a file a blank is only a blank."""
    assert SecretGuard(None, typed=True).is_secret(b" anything")
    assert not SecretGuard(None).is_secret(b" anything")


@unhurried
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([line for _, line, _ in SECRET]))))
def test_asking_twice_is_the_same_as_asking_once(lines: list[bytes]) -> None:
    """`would_be_secret` changes nothing."""
    guard, other = SecretGuard(None), SecretGuard(None)
    for line in lines:
        first = guard.would_be_secret(line)
        assert guard.would_be_secret(line) == first == guard.is_secret(line) == other.is_secret(line)


@unhurried
@given(st.binary(max_size=500))
@example(b"x" * 5000)
def test_whatever_a_peer_says_is_taken(data: bytes) -> None:
    """Without an error, and without being kept: a line without an end is forgotten but for its beginning."""
    guard = SecretGuard(None)
    guard.received(data)
    assert guard.mask(data).endswith(b"****")
    assert len(guard._heard) <= 1024
