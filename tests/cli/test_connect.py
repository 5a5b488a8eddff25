"""Making the connection: addresses, deadlines, certificates; what is said and which status where it fails."""

from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest

from tests.helpers.certs import CertSet, Kind
from tests.helpers.peers import Peer, Script, blackhole, refusing, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, Transport, run_patched
from tests.report.form import check_form

# What a deadline may take beyond its time: the start of Python, and a busy machine.
SLACK_S = 0.8
SHORT_S = 0.4
WARNING = "cfcat: warning: the certificate is not checked (-k): anyone can be at the other end\n"


def hello(conn: Peer) -> None:
    """Speak first."""
    conn.send(b"hello")


RESOLVER = """
import socket
real = socket.getaddrinfo
def resolve(host, port, family=0, *rest):
    if rest[2:]:  # is it an address?
        return real(host, port, family, *rest)
    answer(host)
    found = []
    for address in {addresses!r}:
        try:
            found += real(address, port, family, *rest)
        except socket.gaierror:
            pass  # of the other family
    return found
socket.getaddrinfo = resolve
def answer(host):
    {answer}
"""


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str, answer: str = "pass") -> None:
    """Let every name have these addresses, after a line of Python; a real resolver would need the whole machine."""
    run_patched(monkeypatch, RESOLVER.format(addresses=addresses, answer=answer))


# -------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(("option", "host"), [("-4", "127.0.0.1"), ("-6", "::1")])
def test_family(option: str, host: str) -> None:
    """An address of the family asked for is connected to."""
    with serve(hello, host=host) as server:
        assert cfcat(option, server.address) == Result(b"hello", "", 0)


@pytest.mark.parametrize(("option", "target"), [("-6", "127.0.0.1:{port}"), ("-4", "[::1]:{port}")])
def test_address_of_the_other_family(option: str, target: str) -> None:
    """It is no address for this family; nothing is connected."""
    with serve(hello) as server:
        target = target.format(port=server.port)
        result = cfcat(option, target)
        assert server.connections == 0
    assert (result.stdout, result.status) == (b"", 6)
    text, _ = check_form(result.stderr)
    assert text.startswith(f"{target}: address family")


@pytest.mark.parametrize(("option", "tried"), [(None, "::1, 127.0.0.1"), ("-4", "127.0.0.1"), ("-6", "::1")])
def test_refused_names_what_was_tried(monkeypatch: pytest.MonkeyPatch, option: str | None, tried: str) -> None:
    """Every address of the name, in the order of the attempts, and only those of the family."""
    resolving(monkeypatch, "::1", "127.0.0.1")
    with refusing("::1") as port:
        result = cfcat(*([option] if option else []), f"many.test:{port}")
    assert result == Result(b"", f"cfcat: many.test:{port}: connection refused (tried {tried})\n", 7)


def test_refused_address() -> None:
    """Where the target is an address already, it is not told twice."""
    with refusing() as port:
        assert cfcat(f"127.0.0.1:{port}") == Result(b"", f"cfcat: 127.0.0.1:{port}: connection refused\n", 7)
    with refusing("::1") as port:
        assert cfcat(f"[::1]:{port}") == Result(b"", f"cfcat: [::1]:{port}: connection refused\n", 7)


def test_refused_name() -> None:
    """With the addresses that this machine knows for it."""
    with refusing() as port:
        result = cfcat("-4", f"localhost:{port}")
    assert result == Result(b"", f"cfcat: localhost:{port}: connection refused (tried 127.0.0.1)\n", 7)


def test_reasons_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address with its own."""
    resolving(monkeypatch, "127.0.0.1", "255.255.255.255")
    with refusing() as port:
        result = cfcat(f"many.test:{port}")
    assert result.status == 7
    text, _ = check_form(result.stderr)
    assert text.startswith(f"many.test:{port}: could not connect (127.0.0.1: connection refused, 255.255.255.255: ")


@pytest.mark.parametrize("first", ["refused", "blackhole"])
def test_second_address_works(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """Row 7: the next address is tried after a quarter of a second, or at once where the first has failed."""
    resolving(monkeypatch, "::1", "127.0.0.1")
    with serve(hello) as server, socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("::1", server.port))
        if first == "blackhole":
            other.listen(0)
            filler = socket.create_connection(("::1", server.port))
        else:
            filler = socket.socket()
        with filler:
            began = time.monotonic()
            assert cfcat(f"many.test:{server.port}") == Result(b"hello", "", 0)
            assert time.monotonic() - began < 0.25 + SLACK_S


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "-x"], ids=["empty label", "long label", "dash"])
def test_name_not_found(name: str) -> None:
    """One line: the name and the reason."""
    result = cfcat("--", f"{name}:1")
    assert (result.stdout, result.status) == (b"", 6)
    text, hint = check_form(result.stderr)
    assert (text, hint) == (f"{name}:1: name or service not known", "")


def test_resolver_that_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 2: a temporary failure says so, and that it may be worth another try."""
    resolving(monkeypatch, answer="raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')")
    assert cfcat("name.invalid:1") == Result(
        b"",
        "cfcat: name.invalid:1: temporary failure in name resolution\n"
        "  hint: the resolver could not answer just now; try again\n",
        6,
    )


def test_connection_that_is_reset_the_moment_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between connect() and the first look at the socket, the peer has gone: an error like any other, no bug."""
    run_patched(
        monkeypatch,
        """
import select
from asyncio.selector_events import BaseSelectorEventLoop as Loop
real = Loop.sock_connect
async def connect(self, sock, address):
    await real(self, sock, address)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.poll(5000)  # the reset
Loop.sock_connect = connect
""",
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with start(f"127.0.0.1:{port}") as program:
            conn = listener.accept()[0]
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            conn.close()
            program.wait(DEADLINE_S)
            result = finish(program)
    assert result.status in (7, 56), result.stderr
    text, _ = check_form(result.stderr)
    assert text.startswith(f"127.0.0.1:{port}: ")


# -------------------------------------------------------------------------------------------------- deadlines


def check_connect_timeout(*arguments: str, target: str, text: str) -> None:
    began = time.monotonic()
    result = cfcat("--connect-timeout", str(SHORT_S), *arguments, target)
    assert SHORT_S <= time.monotonic() - began < SHORT_S + SLACK_S
    hint = "--connect-timeout SECS waits longer"
    assert result == Result(b"", f"cfcat: {target}: {text} after {SHORT_S} s\n  hint: {hint}\n", 28)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connect_timeout_where_nobody_answers(host: str) -> None:
    """Rows 8 and 9: the SYN stays unanswered."""
    with blackhole(host) as port:
        check_connect_timeout(target=f"[{host}]:{port}" if ":" in host else f"{host}:{port}", text="no connection")


def test_connect_timeout_in_the_handshake(certs: CertSet) -> None:
    """Row 61: the server is there, and says nothing."""
    with serve(Peer.recv_until_eof) as server:
        options = ["--tls", "on", "--cacert", str(certs.ca)]
        check_connect_timeout(*options, target=server.address, text="the TLS handshake was not complete")
    assert server.received  # the ClientHello


def test_connect_timeout_is_for_the_whole_handshake(certs: CertSet) -> None:
    """A byte now and then does not prolong it: one deadline, not one for each read."""

    def drip(conn: Peer) -> None:
        conn.recv(1 << 16)
        for byte in b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(100):
            if not conn.quiet(0.05):
                return
            conn.send(bytes([byte]))

    with serve(drip) as server:
        options = ["--tls", "on", "--cacert", str(certs.ca)]
        check_connect_timeout(*options, target=server.address, text="the TLS handshake was not complete")


def test_connect_timeout_while_a_resolver_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 3: it cannot be interrupted, and is not waited for."""
    resolving(monkeypatch, answer="__import__('time').sleep(60)")
    check_connect_timeout(target="name.invalid:1", text="no connection")


def test_connect_timeout_is_over_with_the_connection(either: Transport) -> None:
    """What comes later may take its time."""

    def script(conn: Peer) -> None:
        assert conn.quiet(SHORT_S + 0.2)
        conn.send(b"late")

    with either.serve(script) as server:
        arguments = [*either.options, "--no-shutdown", "--connect-timeout", str(SHORT_S), server.address]
        assert cfcat(*arguments) == Result(b"late", "", 0)


def test_idle_timeout(either: Transport) -> None:
    """-w: nothing moves in either direction, with stdin open: 28, and what came before is printed."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.recv_until_eof()

    with either.serve(script) as server, start(*either.options, "-w", str(SHORT_S), server.address) as program:
        program.read_until(b"hello")
        began = time.monotonic()
        program.wait(DEADLINE_S)
        assert SHORT_S - 0.1 < time.monotonic() - began < SHORT_S + SLACK_S
        result = finish(program)
    assert result == Result(b"hello", f"cfcat: {server.address}: nothing moved for {SHORT_S} s\n", 28)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_idle_timeout_begins_again_with_every_byte(plain: Transport, direction: str) -> None:
    """Either direction is enough to keep it from running out."""
    times = 4

    def script(conn: Peer) -> None:
        for _ in range(times):
            if direction == "down":
                assert conn.quiet(0.6 * SHORT_S)
                conn.send(b".")
            else:
                conn.recv_exactly(1)
        conn.send(b"done")

    with plain.serve(script) as server, start("-w", str(SHORT_S), server.address) as program:
        if direction == "up":
            for _ in range(times):
                assert not server.saw_end.wait(0.6 * SHORT_S)
                program.say(b".")
        assert program.wait(DEADLINE_S) == 0
        assert finish(program).stdout.endswith(b"done")


def test_idle_timeout_does_not_run_before_the_connection(certs: CertSet) -> None:
    """The handshake has its own deadline."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(0)
        threading.Event().wait(SHORT_S)
        conn.start_tls(certs.server_context())
        conn.send(b"hello")

    with serve(script) as server:
        arguments = ["--tls", "on", "--cacert", str(certs.ca), "-w", str(SHORT_S / 2), server.address]
        assert cfcat(*arguments) == Result(b"hello", "", 0)


# ------------------------------------------------------------------------------------------------ certificates


def presenting(certs: CertSet, kind: Kind) -> Script:
    """Present this certificate; say hello to a client that accepts it."""

    def script(conn: Peer) -> None:
        if conn.start_tls(certs.server_context(kind), may_fail=True):
            conn.send(b"hello")
            conn.recv_until_eof()

    return script


def test_trusted_certificate(tls: Transport) -> None:
    """--cacert trusts its authority; name and address are in the certificate."""
    with tls.serve(hello) as server:
        for host in ("localhost", "127.0.0.1"):
            assert cfcat("-4", *tls.options, f"{host}:{server.port}") == Result(b"hello", "", 0)
    assert [peer.sni for peer in server.peers] == ["localhost", None]  # an address is no server name


BAD: list[tuple[Kind, str, str]] = [
    ("untrusted", "it was issued by 'Testing CA #", "--cacert FILE trusts another authority; "),
    ("self_signed", "it is self-signed", "--cacert FILE trusts another authority; "),
    ("wrong_host", "it is for other.test, not localhost", "--sni NAME expects another name; "),
    (
        "cn_only",
        "it names no host: there is no subject alternative name, and its subject does not count",
        "--sni NAME expects another name; ",
    ),
    ("expired", "it expired on 2020-01-02", ""),
    ("not_yet", "it is not valid before 2040-01-01", ""),
    ("client_purpose", "it was not made for servers", ""),
]


@pytest.mark.parametrize(("kind", "text", "hint"), BAD, ids=[kind for kind, _, _ in BAD])
def test_bad_certificate(certs: CertSet, kind: Kind, text: str, hint: str) -> None:
    """60 with the reason and what can be done; the server gets nothing of stdin, and an alert."""
    with serve(presenting(certs, kind)) as server:
        target = f"localhost:{server.port}"
        result = cfcat("-4", "--tls", "on", "--cacert", certs.ca, target, stdin=b"secret")
    said, advice = check_form(result.stderr)
    assert (result.stdout, result.status) == (b"", 60)
    assert said.startswith(f"{target}: certificate not trusted: {text}")
    assert advice == f"{hint}-k connects anyway, without protection"
    assert (server.received, server.ended) == (b"", "tls_error")


def test_every_bad_certificate_has_its_own_sentence(certs: CertSet) -> None:
    """Who reads it knows which of them it is."""
    kinds: list[Kind] = ["untrusted", "expired", "wrong_host", "self_signed", "cn_only", "not_yet"]
    said = {}
    for kind in kinds:
        with serve(presenting(certs, kind)) as server:
            result = cfcat("-4", "--tls", "on", "--cacert", certs.ca, f"localhost:{server.port}")
        assert result.status == 60
        text, hint = check_form(result.stderr)
        assert hint
        said[kind] = text.partition("certificate not trusted: ")[2]
    assert len(set(said.values())) == len(said), said


def test_certificate_for_another_address(certs: CertSet) -> None:
    """An address is checked like a name, and said to be one."""
    with serve(presenting(certs, "wrong_host")) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, server.address)
    assert result.status == 60
    text, _ = check_form(result.stderr)
    assert text.startswith(f"{server.address}: certificate not trusted: it is for other.test, not 127.0.0.1")


def test_certificate_of_an_authority_that_the_system_does_not_know(certs: CertSet) -> None:
    """Without --cacert the system's authorities count, and ours is none of them."""
    with serve(presenting(certs, "good")) as server:
        result = cfcat("-4", "--tls", "on", f"localhost:{server.port}", stdin=b"secret")
    assert (result.stdout, result.status) == (b"", 60)
    assert server.received == b""


@pytest.mark.parametrize("kind", ["untrusted", "expired", "wrong_host", "self_signed", "cn_only"])
def test_insecure_works_and_warns(certs: CertSet, kind: Kind) -> None:
    """-k connects to all of them, and says so every time."""
    with serve(presenting(certs, kind)) as server:
        for _ in range(2):
            result = cfcat("-4", "--tls", "on", "-k", f"localhost:{server.port}", stdin=b"data")
            assert result == Result(b"hello", WARNING, 0)
    assert [peer.received for peer in server.peers] == [b"data", b"data"]


def test_insecure_warns_where_nothing_comes_of_it() -> None:
    """Also when the connection fails then."""
    with refusing() as port:
        result = cfcat("--tls", "on", "-k", f"127.0.0.1:{port}")
    assert result == Result(b"", f"{WARNING}cfcat: 127.0.0.1:{port}: connection refused\n", 7)


def test_sni_is_sent_and_verified(certs: CertSet) -> None:
    """--sni: the name that the certificate must have, whatever was connected to."""
    with serve(presenting(certs, "wrong_host")) as server:
        options = ["--tls", "on", "--cacert", str(certs.ca), "--sni"]
        assert cfcat(*options, "other.test", server.address) == Result(b"hello", "", 0)
        result = cfcat(*options, "third.test", server.address)
        assert result.status == 60
        assert "it is for other.test, not third.test" in result.stderr
    assert [peer.sni for peer in server.peers] == ["other.test", "third.test"]


def test_sni_that_is_an_address(certs: CertSet) -> None:
    """It is verified as one, and not sent."""
    with serve(presenting(certs, "good")) as server:
        arguments = ["-4", "--tls", "on", "--cacert", str(certs.ca), "--sni", "127.0.0.1", f"localhost:{server.port}"]
        assert cfcat(*arguments) == Result(b"hello", "", 0)
    assert server.peers[0].sni is None


def test_sni_with_insecure(certs: CertSet) -> None:
    """Sent all the same: servers choose by it."""
    with serve(presenting(certs, "untrusted")) as server:
        result = cfcat("--tls", "on", "-k", "--sni", "any.test", server.address)
    assert result == Result(b"hello", WARNING, 0)
    assert server.peers[0].sni == "any.test"


def test_dot_at_the_end_of_a_name(monkeypatch: pytest.MonkeyPatch, certs: CertSet) -> None:
    """It is for the resolver: no certificate has it, and no server expects it."""
    resolving(monkeypatch, "127.0.0.1", answer="assert host == b'localhost.', host")
    with serve(presenting(certs, "good")) as server:
        arguments = ["--tls", "on", "--cacert", str(certs.ca), f"localhost.:{server.port}"]
        assert cfcat(*arguments) == Result(b"hello", "", 0)
    assert server.peers[0].sni == "localhost"


def test_ipv6_address_is_verified(certs: CertSet) -> None:
    """Without its brackets."""
    with serve(presenting(certs, "good"), host="::1") as server:
        assert cfcat("--tls", "on", "--cacert", certs.ca, server.address) == Result(b"hello", "", 0)


def test_authorities_from_the_environment(certs: CertSet) -> None:
    """SSL_CERT_FILE is honoured; --cacert and -k do without it, broken or not."""
    with serve(presenting(certs, "good")) as server:
        target = server.address
        assert cfcat("--tls", "on", target, env={"SSL_CERT_FILE": str(certs.ca)}) == Result(b"hello", "", 0)
        broken = {"SSL_CERT_FILE": "/nowhere"}
        assert cfcat("--tls", "on", "--cacert", certs.ca, target, env=broken) == Result(b"hello", "", 0)
        assert cfcat("--tls", "on", "-k", target, env=broken) == Result(b"hello", WARNING, 0)


def test_broken_authorities_from_the_environment() -> None:
    """77, before connecting."""
    with serve(hello) as server:
        result = cfcat("--tls", "on", server.address, env={"SSL_CERT_FILE": "/nowhere"})
        assert server.connections == 0
    text = "cannot use the file of authorities SSL_CERT_FILE=/nowhere: no such file or directory"
    assert result == Result(b"", f"cfcat: {text}\n", 77)


# ---------------------------------------------------------------------------------------------- wrong wires


@pytest.mark.parametrize(
    ("banner", "quoted"),
    [
        (b"220 mail.example ESMTP\r\n", "220 mail.example ESMTP"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", r"HTTP/1.1 400 Bad Request\x0d\x0aServer: x"),
        (b"\x1b[31m\x07\xff\r\n", r"\x1b[31m\x07\xff"),
    ],
    ids=["SMTP", "SSH", "HTTP", "escape sequence"],
)
def test_tls_to_a_server_that_speaks_clear_text(certs: CertSet, banner: bytes, quoted: str) -> None:
    """35; what it said is quoted, escaped, and nothing of stdin was sent."""
    with serve(lambda conn: conn.send(banner)) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, server.address, stdin=b"secret")
    text, hint = check_form(result.stderr)
    assert (result.stdout, result.status) == (b"", 35)
    assert text == f'{server.address}: peer does not speak TLS; it said "{quoted}"'
    assert hint
    assert b"secret" not in server.received


def test_handshake_that_the_server_refuses(certs: CertSet) -> None:
    """Row 63: its alert by name."""
    context = certs.server_context(version=ssl.TLSVersion.TLSv1_2)
    context.verify_mode = ssl.CERT_REQUIRED  # a certificate of the client's, which has none

    def script(conn: Peer) -> None:
        assert not conn.start_tls(context, may_fail=True)

    with serve(script) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, server.address, stdin=b"secret")
    text, _ = check_form(result.stderr)
    assert result.status == 35
    assert text == f"{server.address}: TLS handshake failed: the peer sent the alert handshake failure"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(certs: CertSet, version: ssl.TLSVersion) -> None:
    """Row 64: nothing below 1.2, whatever the machine's own configuration allows."""
    context = certs.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = version, version

    def script(conn: Peer) -> None:
        assert not conn.start_tls(context, may_fail=True)

    with serve(script) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, server.address)
    assert result.status == 35
    check_form(result.stderr)
