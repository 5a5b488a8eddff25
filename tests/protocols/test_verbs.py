"""What Tab makes of text for the peer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.protocols import PROFILES
from cfcat.protocols.verbs import completions

pytestmark = pytest.mark.one_python

unhurried = settings(deadline=None)


@pytest.mark.parametrize("name", PROFILES)
def test_verbs_are_written_once_each(name: str) -> None:
    """A verb is one line of text that can be typed, and is not in its list twice."""
    verbs = PROFILES[name]
    assert len(set(verbs)) == len(verbs)
    for verb in verbs:
        assert verb.isascii()
        assert verb.isprintable()
        assert verb[0] not in ": "


@pytest.mark.parametrize(
    ("profile", "text", "expected"),
    [
        ("smtp", "EH", ["EHLO"]),
        ("smtp", "eh", ["ehlo"]),
        ("smtp", "Eh", ["Ehlo"]),
        ("smtp", "MAIL", ["MAIL FROM:<"]),
        ("smtp", "mail f", ["mail from:<"]),
        ("smtp", "R", ["RCPT TO:<", "RSET"]),
        ("smtp", "LH", []),
        ("smtp", "QUIT", []),
        ("smtp", "quit", []),
        ("smtp", " EH", []),
        ("smtp", ":q", []),
        ("lmtp", "LH", ["LHLO"]),
        ("lmtp", "EH", []),
        ("pop3", "ST", ["STLS", "STAT"]),
        ("ftp", "a", ["auth tls", "acct", "appe", "allo", "abor"]),
        ("nntp", "MODE", ["MODE READER"]),
        ("sieve", "auth", ['authenticate "plain"']),
        ("irc", "cap ", ["cap ls 302", "cap req", "cap end"]),
        ("redis", "hg", ["hget", "hgetall"]),
        ("http", "GET", ["GET / HTTP/1.1"]),
        ("http", "Ho", ["Host: "]),
        ("http", "H", ["HEAD / HTTP/1.1", "HEAD", "Host: "]),
        ("memcached", "ge", ["get", "gets"]),
        ("memcached", "GE", ["GET", "GETS"]),
        ("xmpp", "<start", ["<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"]),
        ("nats", "P", ["PING", "PONG", "PUB"]),
        ("gopher", "", []),
        ("none", "EH", []),
        (None, "EH", []),
    ],
)
def test_completions(profile: str | None, text: str, expected: list[str]) -> None:
    """The whole text that it may become, in the case that was begun; a verb that is there already is none."""
    assert completions(profile, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LOG", ["LOGOUT", "LOGIN"]),
        ("a LOG", ["a LOGOUT", "a LOGIN"]),
        ("A0001 log", ["A0001 logout", "A0001 login"]),
        ("a UID F", ["a UID FETCH"]),
        ("UID F", ["UID FETCH"]),
        ("uid f", ["uid fetch"]),
        ("LOGIN ", []),
        ("a LOGIN l", []),
        ("a  LOG", []),
        ("* LOG", ["* LOGOUT", "* LOGIN"]),
        (" LOG", []),
    ],
)
def test_imap_with_and_without_a_tag(text: str, expected: list[str]) -> None:
    """The first word is a tag, unless it is a verb."""
    assert completions("imap", text) == expected


@pytest.mark.parametrize("name", PROFILES)
def test_tab_on_an_empty_line_lists_the_verbs(name: str) -> None:
    """All of them, as they are written; after a tag too."""
    assert completions(name, "") == list(PROFILES[name])
    if name == "imap":
        assert completions(name, "a ") == [f"a {verb}" for verb in PROFILES[name]]


@unhurried
@given(st.sampled_from(list(PROFILES)), st.data())
def test_every_beginning_leads_to_its_verb(name: str, data: st.DataObject) -> None:
    """In capitals or not, what is found begins with what was typed, and one of it is the verb."""
    verb = data.draw(st.sampled_from(PROFILES[name] or ("",)))
    typed = verb[: data.draw(st.integers(0, max(0, len(verb) - 1)))]
    for text in (typed, typed.lower(), typed.upper()):
        found = completions(name, text)
        assert all(candidate.startswith(text) for candidate in found)
        if verb:
            assert verb.lower() in [candidate.lower() for candidate in found]


@unhurried
@given(st.sampled_from(list(PROFILES)), st.text())
def test_any_text_may_be_completed(name: str, text: str) -> None:
    """Nothing is raised, nothing that was typed is changed, and something is added."""
    for candidate in completions(name, text):
        assert candidate.startswith(text)
        assert len(candidate) > len(text)
