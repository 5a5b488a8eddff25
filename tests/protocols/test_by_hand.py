"""SEC-R6: what a bare `:starttls` objects to after the user has typed STARTTLS himself."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfcat.errors import DialogError, InjectionError
from cfcat.protocols.by_hand import check_go_ahead
from tests.protocols.scripts import SCRIPTS, XMPP_PROCEED, XMPP_START

pytestmark = pytest.mark.one_python

# What is typed, and what real servers agree with.
AGREED = (
    (b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n"),
    (b"STARTTLS\r\n", b"220\r\n"),
    (b"starttls\n", b"220 go\n"),
    (b"STARTTLS\r\n", b"382 Begin TLS negotiation now\r\n"),
    (b"STARTTLS\r\n", b'OK "Begin TLS negotiation now."\r\n'),
    (b"STARTTLS\r\n", b"OK {3}\r\nnow\r\n"),
    (b"STARTTLS\r\n", b":irc.example 670 * :STARTTLS successful, go ahead with TLS handshake\r\n"),
    (b"starttls\r\n", b"NOTICE AUTH :*** Found your hostname\r\n:irc.example NOTICE * :670\r\n670\r\n"),
    (b"STLS\r\n", b"+OK Begin TLS negotiation now.\r\n"),
    (b"stls", b"+OK\r\n"),
    (b"AUTH TLS\r\n", b"234 Proceed with negotiation.\r\n"),
    (b"auth  ssl\r\n", b"234\r\n"),
    (b"AUTH TLS-C \r\n", b"234 ok\r\n"),
    (b"AUTH TLS\r\n", b"334 go\r\n"),
    (b"AUTH TLS\r\n", b"234-first\r\n  second\r\n234 third\r\n"),
    (b"STARTTLS\r\n", b"220-first\r\n220 second\r\n"),
    (b"a1 STARTTLS\r\n", b"a1 OK Begin TLS negotiation now.\r\n"),
    (b"$? starttls\r\n", b"* 3 EXISTS\r\n* OK still here\r\n$? ok\r\n"),
    (XMPP_START, XMPP_PROCEED),
    (b"<x:starttls xmlns:x='x'/>", b"<!-- > --><x:proceed xmlns:x='urn:ietf:params:xml:ns:xmpp-tls'></x:proceed>"),
    (b" <starttls xmlns='x' ></starttls>\r\n", b"\n" + XMPP_PROCEED.replace(b"'", b'"')),
)
each_agreed = pytest.mark.parametrize(("sent", "received"), AGREED)
# The last thing that a good dialog says, with a tag where that is wanted, and its answer.
BY_DIALOG = [
    (script.turns[-2][1] if len(script.turns) > 1 else script.opening, script.turns[-1][0])
    for script in SCRIPTS
    if script.protocol in ("smtp", "lmtp", "pop3", "imap", "ftp", "nntp", "sieve", "irc", "xmpp", "xmpp-server")
]


@each_agreed
def test_sec_r6_exact_go_ahead_is_no_objection(sent: bytes, received: bytes) -> None:
    """Each protocol's own go-ahead, in the forms that servers give it, with nothing behind it."""
    check_go_ahead(sent, received)


@pytest.mark.parametrize(("sent", "received"), BY_DIALOG)
def test_sec_r6_what_the_dialogs_accept_is_accepted_by_hand(sent: bytes, received: bytes) -> None:
    """Typed by the user, the last request of a dialog has the same go-ahead as in the dialog."""
    check_go_ahead(sent, received)


@settings(deadline=None)
@given(st.sampled_from(AGREED), st.binary(min_size=1, max_size=40))
@example(AGREED[0], b"250 mail.example\r\n250 AUTH PLAIN\r\n")
@example(AGREED[0], b"670\r\n")
@example(AGREED[4], b"670\r\n")
@example(AGREED[4], b"220 go\r\n")
@example(AGREED[7], b":x 670 y :z\r\n")
@example(AGREED[8], b" ")
@example(AGREED[17], b"$? OK\r\n")
@example(AGREED[18], b"\r\n")
def test_sec_r6_surplus_is_counted_to_the_byte(agreed: tuple[bytes, bytes], surplus: bytes) -> None:
    """Whatever follows the first go-ahead, even another one, is an injection of exactly that many bytes."""
    sent, received = agreed
    with pytest.raises(InjectionError) as caught:
        check_go_ahead(sent, received + surplus)
    assert caught.value.count == len(surplus)
    plural = "" if len(surplus) == 1 else "s"
    assert caught.value.message.startswith(f"{len(surplus)} byte{plural} of plain text after the STARTTLS go-ahead")


@each_agreed
def test_sec_r6_part_of_a_go_ahead_is_no_answer_yet(sent: bytes, received: bytes) -> None:
    """Nothing at all, and every beginning of the answer: the upgrade would come too early."""
    for end in range(len(received)):
        with pytest.raises(DialogError, match=r"^no answer to (STARTTLS|STLS|AUTH TLS|<starttls/>) yet$"):
            check_go_ahead(sent, received[:end])


@pytest.mark.parametrize(
    ("sent", "received", "message"),
    [
        (b"STARTTLS", b"454 4.7.0 TLS not available\r\n", "the server refused STARTTLS (code 454)"),
        (b"STARTTLS", b"580 Can not initiate TLS\r\n", "the server refused STARTTLS (code 580)"),
        (b"STARTTLS", b'NO "not here"\r\n', "the server refused STARTTLS (NO)"),
        (b"STARTTLS", b"BYE\r\n", "the server refused STARTTLS (BYE)"),
        (b"STARTTLS", b":s 691 * :STARTTLS failed\r\n", "the server refused STARTTLS (numeric 691)"),
        (b"STARTTLS", b":s 421 * STARTTLS :Unknown\r\n", "the server refused STARTTLS (numeric 421)"),
        (b"STARTTLS", b"ERROR :closing\r\n", "the server ended the IRC session (ERROR)"),
        (b"STARTTLS", b"220-a\r\n250 b\r\n", "the server's answer to STARTTLS is code 250, not 220"),
        (b"AUTH TLS", b"534-no\r\n", "the server refused AUTH TLS (code 534)"),
        (b"STARTTLS", b"250 ok\r\n", "the server's answer to STARTTLS is code 250, not 220"),
        (b"STLS", b"-ERR no\r\n", "the server refused STLS (-ERR)"),
        (b"AUTH TLS", b"530 no\r\n", "the server refused AUTH TLS (code 530)"),
        (b"AUTH TLS", b"220 go\r\n", "the server's answer to AUTH TLS is code 220, not 234"),
        (b"a STARTTLS", b"* x\r\na NO no\r\n", "the server refused STARTTLS (NO)"),
        (b"a STARTTLS", b"a BAD no\r\n", "the server refused STARTTLS (BAD)"),
        (b"a STARTTLS", b"* BYE\r\n", "the server ended the IMAP session (BYE)"),
        (XMPP_START, b"<failure/>", "the server refused <starttls/> (<failure/>)"),
        (XMPP_START, b"<proceed/>", "the server's <proceed/> is not in the namespace of STARTTLS"),
        (XMPP_START, b"</stream:stream>", "the server ended the XMPP stream"),
    ],
)
def test_sec_r2_refusal_is_an_objection_that_quotes_it(sent: bytes, received: bytes, message: str) -> None:
    """No upgrade against a refusal; the server's words are kept for the message, none of them is in it."""
    with pytest.raises(DialogError) as caught:
        check_go_ahead(sent, received)
    assert str(caught.value) == message
    said = caught.value.said
    assert said
    assert said in received


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (b"STARTTLS", b"2200 go\r\n"),
        (b"STARTTLS", b"220go\r\n"),
        (b"STARTTLS", b"+OK go\r\n"),
        (b"STARTTLS", b"\xff\r\n"),
        (b"STLS", b"+OKAY\r\n"),
        (b"STLS", b"220 go\r\n"),
        (b"a STARTTLS", b"b OK go\r\n"),
        (b"a STARTTLS", b"OK go\r\n"),
        (b"AUTH TLS", b"2340 go\r\n"),
        (XMPP_START, b"proceed"),
    ],
)
def test_look_alikes_are_no_go_ahead(sent: bytes, received: bytes) -> None:
    """A code or word is a whole token, and the tag is the one that was sent."""
    with pytest.raises(DialogError, match=r"^the server's answer to \S+( TLS)? is no go-ahead$") as caught:
        check_go_ahead(sent, received)
    assert caught.value.said == received


@pytest.mark.parametrize("sent", [b"STARTTLS", b"STLS", b"AUTH TLS", XMPP_START])
def test_tls_alert_for_an_answer_is_recognised(sent: bytes) -> None:
    """Row 89: the port speaks TLS by itself, and the line was no ClientHello to it."""
    with pytest.raises(DialogError) as caught:
        check_go_ahead(sent, b"\x15\x03\x01\x00\x02\x02\x16")
    assert caught.value.speaks_tls


def test_what_is_quoted_is_bounded() -> None:
    """At most 512 bytes of a refusal or of nonsense are kept."""
    for received in (b"454 " + b"x" * 5000 + b"\r\n", b"\xff" * 5000 + b"\r\n"):
        with pytest.raises(DialogError) as caught:
            check_go_ahead(b"STARTTLS", received)
        assert caught.value.said == received[:512]


NO_REQUESTS = [
    *(b"", b"\r\n", b"EHLO me\r\n", b"STARTTLS now\r\n", b"STARTTLS\r\nEHLO me\r\n", b"XSTARTTLS\r\n", b"STLSX"),
    *(
        b"AUTH LOGIN\r\n",
        b"AUTH TLSX",
        b"AUTH",
        b"a b STARTTLS\r\n",
        b"EHLO starttls.example",
        b"<starttlsx/>",
        b"x <starttls/>",
    ),
    *(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"<stream:stream>"),
]


@pytest.mark.parametrize("sent", NO_REQUESTS)
def test_what_is_no_request_is_not_judged(sent: bytes) -> None:
    """An unknown protocol: its user knows what the server has said."""
    for received in (b"", b"454 no\r\n", b"220 go\r\nX", b"\x15\x03\x01"):
        check_go_ahead(sent, received)


def asks_for_tls(sent: bytes) -> bool:
    words = sent.strip().upper().split(b" ")
    return words[-1] in (b"STARTTLS", b"STLS") or words[0] == b"AUTH" or words[0].startswith(b"<")


@settings(deadline=None)
@given(st.binary(max_size=30) | st.text().map(str.encode), st.binary(max_size=30))
def test_arbitrary_lines_never_meet_an_objection(sent: bytes, received: bytes) -> None:
    """Whatever was sent and received: no request, no objection."""
    if not asks_for_tls(sent):
        check_go_ahead(sent, received)


@settings(deadline=None)
@given(st.sampled_from(sorted({sent for sent, _ in AGREED})), st.binary(max_size=60))
def test_arbitrary_answers_raise_nothing_but_the_two_errors(sent: bytes, received: bytes) -> None:
    """No answer breaks the check, and none that is not one of the go-aheads passes."""
    agreed = {answer for request, answer in AGREED if request == sent}
    try:
        check_go_ahead(sent, received)
    except (DialogError, InjectionError):
        assert received not in agreed
    else:
        assert any(code in received.upper() for code in (b"220", b"382", b"234", b"334", b"670", b"OK", b"PROCEED"))


def test_sec_r7_a_hundred_thousand_lines_are_soon_read() -> None:
    """1.6 MB of notices in front of the go-ahead are passed over without being copied again and again."""
    notices = b":s NOTICE * :hi\r\n" * 100_000
    check_go_ahead(b"STARTTLS", notices + b":s 670 * :go\r\n")
    with pytest.raises(InjectionError) as caught:
        check_go_ahead(b"STARTTLS", b":s 670 * :go\r\n" + notices)
    assert caught.value.count == len(notices)


def test_every_pair_of_go_aheads_is_an_injection() -> None:
    """One request, two agreements of any two protocols: the second is what an attacker adds."""
    bare = [answer for sent, answer in AGREED if sent.upper().strip() == b"STARTTLS"]
    for first, second in itertools.product(bare, repeat=2):
        with pytest.raises(InjectionError) as caught:
            check_go_ahead(b"STARTTLS\r\n", first + second)
        assert caught.value.count == len(second)
