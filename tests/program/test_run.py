"""Making the connection: addresses, deadlines, certificates; what is said and which status where it fails."""

from __future__ import annotations

import threading

import pytest

from tests.faults.ways import resolving
from tests.helpers.certs import CertSet, Kind
from tests.helpers.peers import Peer, Script, refusing, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, Transport
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

SHORT_S = 0.4
WARNING = "cfcat: warning: the certificate is not checked (-k): anyone can be at the other end\n"


def hello(conn: Peer) -> None:
    """Speak first."""
    conn.send(b"hello")


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


# -------------------------------------------------------------------------------------------------- deadlines


def test_connect_timeout_is_over_with_the_connection(either: Transport) -> None:
    """What comes later may take its time."""

    def script(conn: Peer) -> None:
        assert conn.quiet(SHORT_S + 0.2)
        conn.send(b"late")

    with either.serve(script) as server:
        arguments = [*either.options, "--no-shutdown", "--connect-timeout", str(SHORT_S), server.address]
        assert cfcat(*arguments) == Result(b"late", "", 0)


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


def test_dot_at_the_end_of_a_name(certs: CertSet) -> None:
    """It is for the resolver: no certificate has it, and no server expects it."""
    by = resolving("127.0.0.1", answer="assert host == b'localhost.', host")
    with serve(presenting(certs, "good")) as server:
        arguments = ["--tls", "on", "--cacert", str(certs.ca), f"localhost.:{server.port}"]
        assert cfcat(*arguments, by=by) == Result(b"hello", "", 0)
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
