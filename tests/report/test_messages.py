"""Messages: what was tried, what happened, what to do; always in the same form, whatever a peer has said.

The runs that provoke each of them are in `test_status`, in tests/program and in tests/pipe.
"""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfcat.core.address import parse_address
from cfcat.errors import (
    AddressError,
    BlockedError,
    CaFileError,
    CertificateError,
    CommandError,
    ConnectError,
    ConnectTimeout,
    CrossedWiresError,
    IdleTimeout,
    LostError,
    ResolveError,
    StdinError,
    StdoutError,
    TlsError,
    TruncatedError,
    UsageError,
)
from cfcat.report.messages import Message, explain, explain_address
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

unhurried = settings(deadline=None)  # a slow machine is no failure
TARGET = "mail.example:587"
REFERENCE = "the text of the reference runtime, which nobody here wants to read"

# An error, what must be said of it, and what is to be done.
SAID: list[tuple[Exception, list[str], list[str]]] = [
    (UsageError("-4 and -6 exclude each other"), ["-4 and -6 exclude each other"], []),
    (CommandError(":view needs a value"), [":view needs a value"], []),
    (CommandError(":qiut is not a command", "did you mean :quit?"), [":qiut"], [":quit"]),
    (UsageError("no target given", "cfcat HOST:PORT"), ["no target given"], ["cfcat HOST:PORT"]),
    (CaFileError("ca.pem: no such file or directory"), ["ca.pem", "no such file"], []),
    (ResolveError(REFERENCE, f"{TARGET}: name or service not known"), [TARGET, "name or service not known"], []),
    (ResolveError(REFERENCE, f"{TARGET}: no answer", temporary=True), [TARGET, "no answer"], ["again"]),
    (ConnectError(REFERENCE, f"{TARGET}: refused (tried ::1, 127.0.0.1)"), [TARGET, "(tried ::1, 127.0.0.1)"], []),
    (
        BlockedError("Connections to port 25 are prohibited", "192.0.2.7:25 has port 25 (rule P3)", rule="P3"),
        [TARGET, "in a Worker", "Connections to port 25 are prohibited"],
        ["192.0.2.7:25 has port 25 (rule P3)", "without --workers"],
    ),
    (ConnectTimeout(REFERENCE, f"{TARGET}: no connection after 30 s"), [TARGET, "30 s"], ["--connect-timeout"]),
    (IdleTimeout("nothing moved for 5 s"), [TARGET, "nothing moved for 5 s"], []),
    (LostError(detail="connection reset by peer", sending=True), [TARGET, "reset by peer", "sending"], []),
    (LostError(detail="connection reset by peer"), [TARGET, "reset by peer", "receiving"], []),
    (
        TruncatedError(REFERENCE, "it ended without close_notify"),
        [TARGET, "close_notify", "may be truncated"],
        ["--ignore-unexpected-eof"],
    ),
    (CrossedWiresError("the peer answered with a TLS alert"), [TARGET, "TLS alert"], ["--tls on"]),
    (
        TlsError(REFERENCE, said=b"220 mail.example ESMTP\r\n"),
        [TARGET, 'it said "220 mail.example ESMTP"'],
        ["--starttls smtp"],
    ),
    (TlsError(REFERENCE, said=b"<?xml version='1.0'?><stream:stream xmln"), ["<?xml"], ["--starttls xmpp"]),
    (TlsError(REFERENCE, said=b"SSH-2.0-x\r\n"), [TARGET, 'it said "SSH-2.0-x"'], ["--tls off"]),
    (TlsError(REFERENCE, "TLS handshake failed: alert"), [TARGET, "TLS handshake failed: alert"], []),
    (
        TlsError(REFERENCE, "the peer sent the alert unrecognized name", reason="TLSV1_UNRECOGNIZED_NAME"),
        [TARGET, "unrecognized name"],
        ["--sni NAME"],
    ),
    (CertificateError(REFERENCE, "not trusted: too new", verify_code=9), [TARGET, "too new"], ["clock", "-k"]),
    (CertificateError(REFERENCE, "not trusted: too old", verify_code=10), [TARGET, "too old"], ["-k connects anyway"]),
    (CertificateError(REFERENCE, "not trusted: of no CA", verify_code=18), [TARGET, "of no CA"], ["--cacert", "-k"]),
    (CertificateError(REFERENCE, "not trusted: of no CA", verify_code=20), [TARGET, "of no CA"], ["--cacert", "-k"]),
    (CertificateError(REFERENCE, "not trusted: no name", verify_code=62), [TARGET, "no name"], ["--sni", "-k"]),
    (StdoutError("cannot write standard output", "no space left on device"), ["standard output", "no space left"], []),
    (StdinError("cannot read standard input", "i/o error"), ["standard input", "i/o error"], []),
    (MemoryError(), [TARGET, "out of memory"], []),
    (ZeroDivisionError("division by zero"), ["internal error", "division by zero"], ["bug", "CFCAT_DEBUG=1"]),
]


SILENT = TlsError(REFERENCE, "peer closed the connection during the TLS handshake", reason="EOF")
SILENT.silent_in = "handshake"


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("db.example:5432", "try --starttls postgres"),
        ("db.example:6379", "--starttls PROTO or --tls off, if clear text comes first on this port"),
    ],
)
def test_a_server_that_says_nothing_to_a_client_hello(target: str, hint: str) -> None:
    """It may wait for clear text: the port says of which protocol."""
    assert explain(SILENT, target).hint == hint


def name(value: object) -> str:
    return type(value).__name__ if isinstance(value, Exception) else ""


@pytest.mark.parametrize(("error", "text", "hint"), SAID, ids=name)
def test_what_is_said(error: Exception, text: list[str], hint: list[str]) -> None:
    """The target, what happened to it, and what helps; not the words of the reference runtime."""
    said, advice = explain(error, TARGET)
    assert [word for word in text if word not in said] == []
    assert [word for word in hint if word not in advice] == []
    assert bool(advice) == bool(hint)
    assert REFERENCE not in said + advice
    if not isinstance(error, ZeroDivisionError):  # the one whose class is the news
        check_form(str(Message(said, advice)))


def test_form() -> None:
    """Prefix, text, end of line; the hint on a line of its own."""
    assert str(Message("what")) == "cfcat: what\n"
    assert str(Message("what", "action")) == "cfcat: what\n  hint: action\n"


@unhurried
@given(st.binary(min_size=1, max_size=40))
@example(b"\x1b]0;pwn\x07\r\n220 evil\r\n")
@example("\u202e".encode())
def test_what_a_peer_said_is_escaped(said: bytes) -> None:
    """Quoted in a message, it is one line of printable characters."""
    text, hint = explain(TlsError("peer does not speak TLS", said=said), TARGET)
    assert text.isprintable()
    assert text.endswith('"')
    assert hint


def test_clear_text_after_the_go_ahead() -> None:
    """Row 83: no hint to try the upgrade that has just failed, nor to do without TLS."""
    error = TlsError("peer does not speak TLS", said=b"220 mail.example\r\n")
    error.upgrading = True
    text, hint = explain(error, TARGET)
    assert text.endswith('in place of TLS; it said "220 mail.example"')
    assert hint == ""


@unhurried
@given(st.text(), st.sampled_from([0, 10, 18, 20, 62]))
@example("CN=\x1b[2J\n\u202e", 18)
def test_what_a_certificate_says_is_escaped(detail: str, code: int) -> None:
    """Its fields are the attacker's."""
    for error in (CertificateError("x", detail, verify_code=code), TlsError("x", detail)):
        text, hint = explain(error, TARGET)
        assert text.isprintable()
        assert hint.isprintable()


@unhurried
@given(st.text())
@example("\x1b]0;pwn\x07")
def test_unexpected_error_is_escaped(text: str) -> None:
    """Whatever its text is made of."""
    assert str(explain(ValueError(text), TARGET)).replace("\n", "").isprintable()


# ---------------------------------------------------------------------------------------------- addresses

hosts = st.sampled_from(["example.com", "localhost", "192.0.2.7", "[::1]", "::1", "fe80::1%lo", "user@host", "-x", ""])
ports = st.sampled_from(["", ":", ":0", ":80", ":65536", ":x", ":-1", ":80:80", "/", ":80/", "\n", " ", "\0", "\x1b"])
schemes = st.sampled_from(["", "http://", "https://", "smtp://", "HTTPS://", "x://", "mailto:"])
targets = st.one_of(st.text(), st.builds("{}{}{}".format, schemes, hosts, ports))


def refusal(target: str) -> Message | None:
    """What is said of a target that cannot be parsed; None for one that can."""
    try:
        parse_address(target)
    except AddressError as error:
        return explain_address(target, error)
    return None


@unhurried
@given(targets)
@example("a\0b:1")
@example("a b:1")
@example("\x1bhost")
def test_bad_target_is_one_clear_line(target: str) -> None:
    """In the form of every message, whatever the target is made of."""
    message = refusal(target)
    if message is not None:
        assert message.text.isprintable()
        assert message.hint.isprintable()
        assert "\n" not in message.text + message.hint


@unhurried
@given(targets)
@example("https://user:password@example.com:0/")
@example("http://example.com:99999")
@example("-x")
@example(":")
@example("x" * 300)
def test_hint_is_a_command_that_works(target: str) -> None:
    """What is suggested can be typed as it stands, unless it is a form to be filled in."""
    message = refusal(target)
    if message is None or not message.hint.startswith("cfcat "):
        return
    for command in message.hint.split(", "):
        words = shlex.split(command)[1:]
        target = words[0]
        assert words[1:] in ([], ["--tls", "on"])
        if target.isupper() or target.endswith(":PORT"):
            continue
        assert not target.startswith("-")
        assert parse_address(target).port


@pytest.mark.parametrize(
    ("target", "text", "hint"),
    [
        ("example.com", "'example.com': no port given", "cfcat example.com:443"),
        ("example.com:", "'example.com:': no port given", "cfcat example.com:443"),
        ("[::1]", "'[::1]': no port given", "cfcat [::1]:443"),
        (
            "https://example.com/",
            "'https://example.com/': expected host:port, not a URL",
            "cfcat example.com:443 --tls on",
        ),
        ("https://a.example:8443/x?y#z", None, "cfcat a.example:8443 --tls on"),
        ("https://user:pw@a.example/", None, "cfcat a.example:443 --tls on"),
        ("http://a.example", None, "cfcat a.example:80"),
        ("http://[::1]:8080/", None, "cfcat [::1]:8080"),
        ("smtp://a.example", None, "cfcat a.example:25"),
        ("ldaps://a.example", None, "cfcat a.example:636 --tls on"),
        ("wss://a.example/chat", None, "cfcat a.example:443 --tls on"),
        ("ws://a.example", None, "cfcat a.example:80"),
        (
            "redis://:hunter2@a.example/0",
            "'redis://:****@a.example/0': expected host:port, not a URL",
            "cfcat a.example:6379",
        ),
        ("ftp://u:p@ss@a.example", "'ftp://u:****@a.example': expected host:port, not a URL", "cfcat a.example:21"),
        ("u:pw@a.example:22", "'u:****@a.example:22': expected host:port without a user", "cfcat a.example:22"),
        ("u@a.example", "'u@a.example': expected host:port without a user", "cfcat a.example:443"),
        ("a.example/x", "'a.example/x': expected host:port without a path", "cfcat a.example:443"),
        ("a.example:80/x?y", "'a.example:80/x?y': expected host:port without a path", "cfcat a.example:80"),
        ("/run/x.sock", "'/run/x.sock': a path; a Unix socket is unix:PATH", "cfcat unix:/run/x.sock"),
        ("8080", "'8080': no host given", "cfcat localhost:8080"),
        ("localhost:20-25", None, "one port a run: a shell loop tries several"),
        ("localhost:22,80", None, "one port a run: a shell loop tries several"),
        ("about://a.example", None, "cfcat a.example:443"),
        ("::1", None, "cfcat [::1]:PORT"),
        ("2001:db8::7:25", None, "cfcat [2001:db8::7]:25"),
        ("::1:25", None, "cfcat [::1]:25"),
        (":25", "':25': no host given", "cfcat localhost:25"),
        ("localhost:0", "'localhost:0': the port must be a number from 1 to 65535", ""),
        ("localhost:65536", "'localhost:65536': the port must be a number from 1 to 65535", ""),
        ("localhost:x", "'localhost:x': no service is called 'x'", "a port is a number, or a name of /etc/services"),
        ("localhost:-1", "'localhost:-1': the port must be a number from 1 to 65535", ""),
        ("a b:1", "'a b:1': a blank in the host name", ""),
        ("é:1", "'é:1': not a host name", ""),
    ],
)
def test_bad_target(target: str, text: str | None, hint: str) -> None:
    """What is wrong with it, and what was probably meant."""
    message = explain_address(target, AddressError("port 0")) if target.endswith(":0") else refusal(target)
    assert message is not None
    assert text in (None, message.text)
    assert message.hint == hint
