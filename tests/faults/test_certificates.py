"""Rows 65 and 73 to 78: certificates that are not to be trusted, each with its own sentence and hint."""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.faults.odd_certs import GOOD_NAMES, Issued, issue, presenting, write
from tests.faults.ways import check_message, upgrade
from tests.helpers.certs import CertSet, Kind
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Argument, Result, cfcat
from tests.pipe.tools import Transport

pytestmark = pytest.mark.one_python

INSECURE = "-k connects anyway, without protection"
AUTHORITY = f"--cacert FILE trusts another authority; {INSECURE}"
CHAIN = f"--cacert FILE trusts another authority; a server has to send its intermediate certificates; {INSECURE}"
NAME = f"--sni NAME expects another name; {INSECURE}"
CLOCK = f"the clock of this machine may be wrong; {INSECURE}"
RENEWED = f"whoever runs the server has to renew it; {INSECURE}"
REPLACED = f"whoever runs the server has to replace it; {INSECURE}"
LONGEST_MESSAGE = 1000  # characters, whatever is in a certificate


def connect_to(
    context: ssl.SSLContext, ca: Path, *options: Argument, host: str = "localhost", upgraded: bool = False
) -> tuple[str, Result]:
    """Run against a server with this certificate; return the target and how it went."""

    def script(conn: Peer) -> None:
        if upgraded:
            upgrade(conn)
        if conn.start_tls(context, may_fail=True):
            conn.send(b"hello")

    how: list[Argument] = ["--starttls", "smtp"] if upgraded else ["--tls", "on"]
    with serve(script) as server:
        target = f"{host}:{server.port}"
        result = cfcat("-4", *how, "--cacert", ca, *options, target, stdin=b"secret")
    assert (b"secret" in server.received) == (result.status == 0)
    assert server.ended == ("close_notify" if result.status == 0 else "tls_error")  # an alert
    return target, result


def check_refused(
    context: ssl.SSLContext, ca: Path, sentence: str, hint: str, *options: Argument, **how: object
) -> str:
    """60, this sentence and this hint; nothing of stdin is sent. Returns the whole message."""
    began = time.monotonic()
    target, result = connect_to(context, ca, *options, **how)  # type: ignore[arg-type]
    assert check_message(result, 60, f"{target}: certificate not trusted: {sentence}") == hint
    assert len(result.stderr) < LONGEST_MESSAGE
    assert time.monotonic() - began < 5
    return result.stderr


@pytest.fixture(scope="module")
def root() -> Issued:
    """An authority that is trusted: --cacert names it."""
    return issue("Odd CA", ca=True)


@pytest.fixture(scope="module")
def ca(root: Issued, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file."""
    return write(tmp_path_factory.mktemp("odd") / "ca.pem", root)


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]


# ---------------------------------------------------------------- rows 65, 73 to 76: of the kinds that all tests have

ROWS: list[tuple[int, Kind, str, str]] = [
    (65, "weak", "its key is too small", REPLACED),
    (73, "expired", "it expired on 2020-01-02", RENEWED),
    (73, "not_yet", "it is not valid before 2040-01-01", CLOCK),
    (74, "self_signed", "it is self-signed", AUTHORITY),
    (74, "untrusted", "it was issued by 'Testing CA #", CHAIN),
    (74, "incomplete", "it was issued by 'Testing CA #", CHAIN),
    (75, "wrong_host", "it is for other.test, not localhost", NAME),
    (
        75,
        "cn_only",
        "it names no host: there is no subject alternative name, and its subject does not count",
        NAME,
    ),
    (76, "client_purpose", "it was not made for servers", REPLACED),
]


@pytest.mark.parametrize(
    ("kind", "sentence", "hint"), [row[1:] for row in ROWS], ids=[f"{row[0]}-{row[1]}" for row in ROWS]
)
def test_rows_65_73_74_75_76_bad_certificate(certs: CertSet, kind: Kind, sentence: str, hint: str) -> None:
    """60 with the reason and what can be done; the server gets nothing of stdin, and an alert."""
    check_refused(certs.server_context(kind), certs.ca, sentence, hint)


@pytest.mark.parametrize("kind", ["expired", "untrusted", "wrong_host"])
def test_rows_73_74_75_on_every_way(tls_way: Transport, kind: Kind) -> None:
    """TLS 1.2 and an upgrade are no different."""
    certs = tls_way.certs
    sentence, hint = next(row[2:] for row in ROWS if row[1] == kind)
    upgraded = tls_way.name == "upgraded"
    check_refused(certs.server_context(kind, tls_way.version), certs.ca, sentence, hint, upgraded=upgraded)


def test_row_74_system_does_not_know_our_authority(certs: CertSet) -> None:
    """Without --cacert the system's authorities count, and ours is none of them."""

    def script(conn: Peer) -> None:
        assert not conn.start_tls(certs.server_context(), may_fail=True)

    with serve(script) as server:
        result = cfcat("-4", "--tls", "on", f"localhost:{server.port}", stdin=b"secret")
    assert check_message(result, 60, f"localhost:{server.port}: certificate not trusted: it was issued by 'Test")
    assert server.received == b""


# -------------------------------------------------------------------------------------------------- odd chains


def test_row_65_signature_by_sha1(root: Issued, ca: Path, tmp_path: Path) -> None:
    """Too weak, and said so. "cryptography" makes none: openssl signs a self-signed one anew."""
    leaf = issue("x", names=GOOD_NAMES)
    key = tmp_path / "ca.key"
    key.write_bytes(root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    extensions = tmp_path / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    old, new = write(tmp_path / "leaf.pem", leaf), tmp_path / "sha1.pem"
    command = f"openssl x509 -sha1 -preserve_dates -set_serial 7 -clrext -extfile {extensions} -in {old} -out {new}"
    subprocess.run([*command.split(), "-CA", str(ca), "-CAkey", str(key)], check=True, capture_output=True, timeout=10)
    weak = Issued(x509.load_pem_x509_certificate(new.read_bytes()), leaf.key)
    check_refused(presenting(tmp_path, weak), ca, "it is signed with a hash that is too weak", REPLACED)


def test_row_73_authority_that_is_out_of_date(root: Issued, ca: Path, tmp_path: Path) -> None:
    """Of the chain, the one that is to blame is named, with its own date."""
    old = issue("Old CA", root, ca=True, dates=("2020-01-01", "2021-01-01"))
    new = issue("New CA", root, ca=True, dates=("2039-01-01", "2040-01-01"))
    for middle, sentence, hint in (
        (old, "its authority 'Old CA' expired on 2021-01-01", RENEWED),
        (new, "its authority 'New CA' is not valid before 2039-01-01", CLOCK),
    ):
        check_refused(presenting(tmp_path, issue("x", middle, names=GOOD_NAMES), middle), ca, sentence, hint)


def test_row_74_chains_that_lead_nowhere(root: Issued, ca: Path, tmp_path: Path) -> None:
    """An intermediate left out; one that leads to an unknown authority; that authority sent along."""
    other = issue("Other CA", ca=True)
    for chain, sentence, hint in (
        ([issue("Middle", root, ca=True)], "it was issued by 'Middle', which is not known here", CHAIN),
        (
            [issue("Middle", other, ca=True)],
            "its authority 'Middle' was issued by 'Other CA', which is not known here",
            CHAIN,
        ),
        (
            [issue("Middle", other, ca=True), other],
            "its chain ends in a self-signed certificate that is not known here",
            AUTHORITY,
        ),
    ):
        leaf = issue("x", chain[0], names=GOOD_NAMES)
        sent = [] if chain[0].cert.issuer == root.cert.subject else chain
        check_refused(presenting(tmp_path, leaf, *sent), ca, sentence, hint)


@pytest.mark.parametrize(
    ("names", "asked", "sentence"),
    [
        (["*.example.test"], "a.b.example.test", "it is for *.example.test, not a.b.example.test"),
        (["*.example.test"], "example.test", "it is for *.example.test, not example.test"),
        (["*"], "localhost", "it is for *, not localhost"),
        (["loc*"], "localhost", "it is for loc*, not localhost"),
        (["a.test", "b.test"], "c.test", "it is for a.test, b.test, not c.test"),
    ],
)
def test_row_75_names_that_do_not_match(
    root: Issued, ca: Path, tmp_path: Path, names: list[str], asked: str, sentence: str
) -> None:
    """A wildcard stands for one label, and for the whole of it; the names that there are are listed."""
    check_refused(presenting(tmp_path, issue("x", root, names=dns(*names))), ca, sentence, NAME, "--sni", asked)


def test_row_75_wildcard_that_matches(root: Issued, ca: Path, tmp_path: Path) -> None:
    """So that the test before is about its depth."""
    context = presenting(tmp_path, issue("x", root, names=dns("*.example.test")))
    assert connect_to(context, ca, "--sni", "a.example.test")[1] == Result(b"hello", "", 0)


def test_row_75_addresses(root: Issued, ca: Path, tmp_path: Path) -> None:
    """An address is looked for among the addresses only, and a name among the names."""
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    host = "127.0.0.1"
    as_name = "it has 127.0.0.1 as a host name, which does not count for an address"
    for names, sentence in ((dns(host), as_name), (dns("localhost"), "it is for localhost, not 127.0.0.1")):
        check_refused(presenting(tmp_path, issue("x", root, names=names)), ca, sentence, NAME, host=host)
    context = presenting(tmp_path, issue("x", root, names=[address]))
    check_refused(context, ca, "it is for 127.0.0.1, not localhost", NAME)
    assert connect_to(context, ca, host=host)[1] == Result(b"hello", "", 0)


def test_row_76_name_constraints(root: Issued, ca: Path, tmp_path: Path) -> None:
    """An authority that may issue for example.test only, or for anything but localhost."""
    allowed = x509.NameConstraints(dns("example.test"), None)
    forbidden = x509.NameConstraints(None, dns("localhost"))
    for number, constraint in enumerate((allowed, forbidden)):
        middle = issue(f"Constrained {number}", root, ca=True, also=[constraint])
        context = presenting(tmp_path, issue("x", middle, names=GOOD_NAMES), middle)
        check_refused(context, ca, "it has a name for which its authority may not issue", REPLACED)


def test_row_76_issuer_that_is_no_authority(root: Issued, ca: Path, tmp_path: Path) -> None:
    """Anybody's certificate could issue others otherwise."""
    nobody = issue("nobody", root)
    context = presenting(tmp_path, issue("x", nobody, names=GOOD_NAMES), nobody)
    check_refused(context, ca, "it was issued by a certificate that may not issue any", REPLACED)


def test_row_76_authority_as_a_server(root: Issued, ca: Path, tmp_path: Path) -> None:
    """CA:TRUE in a server's own certificate: not refused, as `openssl req -x509` makes all certificates so.

    It must be trusted like any other: self-signed, it is what --cacert names, or nothing.
    """
    assert connect_to(presenting(tmp_path, issue("x", root, names=GOOD_NAMES, ca=True)), ca)[1].status == 0
    alone = issue("x", names=GOOD_NAMES, ca=True)
    context = presenting(tmp_path, alone)
    assert connect_to(context, write(tmp_path / "alone.pem", alone))[1] == Result(b"hello", "", 0)
    check_refused(context, ca, "it is self-signed", AUTHORITY)


# -------------------------------------------------------------------------------------- row 77: hostile contents


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("localhost\0.evil.test", r"localhost\x00.evil.test"),
        ("\x1b[2Jevil\nname\x07", r"\x1b[2Jevil\x0aname\x07"),
        ("x" * 5000, "x" * 80 + "..."),
    ],
    ids=["NUL", "escape sequence", "long"],
)
def test_row_77_hostile_name(root: Issued, ca: Path, tmp_path: Path, name: str, shown: str) -> None:
    """It matches nothing before a NUL, and is shown escaped and short."""
    check_refused(
        presenting(tmp_path, issue("x", root, names=dns(name))), ca, f"it is for {shown}, not localhost", NAME
    )


def test_row_77_hostile_subject(ca: Path, tmp_path: Path) -> None:
    """SEC-R20: escape sequence, newline, C1 control and bidi control in the issuer's name: one line, all of it
    escaped.
    """
    evil = issue("E\x1b]0;pwn\x07\n\u202e\x9b31m\u200b", ca=True)
    shown = r"it was issued by 'E\x1b]0;pwn\x07\x0a\u202e\x9b31m\u200b', which is not known here"
    check_refused(presenting(tmp_path, issue("x", evil, names=GOOD_NAMES)), ca, shown, CHAIN)


def test_row_77_list_of_names(root: Issued, ca: Path, tmp_path: Path) -> None:
    """90 KB of names: the first five. A megabyte is more than OpenSSL takes: 35, and as short."""
    many = [f"host{number:06}.example.test" for number in range(1 << 15)]
    sentence = f"it is for {', '.join(many[:5])}, ..., not localhost"
    check_refused(presenting(tmp_path, issue("x", root, names=dns(*many[:3000]))), ca, sentence, NAME)
    target, result = connect_to(presenting(tmp_path, issue("x", root, names=dns(*many))), ca)
    assert check_message(result, 35, f"{target}: TLS handshake failed: excessive message size") == ""


def test_row_77_long_chain(root: Issued, ca: Path, tmp_path: Path) -> None:
    """A hundred authorities are followed to one that is trusted; more than that are too many. Neither takes long."""
    chain = [root]
    for number in range(102):
        chain.append(issue(f"CA {number}", chain[-1], ca=True))
    for length, status in ((100, 0), (102, 60)):
        leaf = issue("x", chain[length], names=GOOD_NAMES)
        context = presenting(tmp_path, leaf, *reversed(chain[1 : length + 1]))
        if status:
            check_refused(context, ca, "its chain is too long", REPLACED)
        else:
            assert connect_to(context, ca)[1] == Result(b"hello", "", 0)


def test_row_78_clock_that_is_wrong(tmp_path: Path) -> None:
    """Where everything lies in the future, it may be us who are in the past."""
    future = issue("Future CA", ca=True, dates=("2039-01-01", "2040-01-01"))
    leaf = issue("x", future, names=GOOD_NAMES, dates=("2039-02-01", "2040-01-01"))
    path = write(tmp_path / "future.pem", future)
    check_refused(presenting(tmp_path, leaf), path, "it is not valid before 2039-02-01", CLOCK)
