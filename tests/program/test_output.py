"""What a run shows of itself: `-v`, `-x`, `--log`, `--json`, in real runs of every kind."""

from __future__ import annotations

import json
import os
import re
import ssl
import stat
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cfcat.record.transcript import parse_entry
from tests.helpers.certs import Certificate, CertSet, Kind
from tests.helpers.hostile import make_hostile
from tests.helpers.installed import demand
from tests.helpers.json_schema import violations
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat, shell, start
from tests.program.runs import RUNS, golden, normalized
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

SCHEMA: dict[str, Any] = json.loads(files("cfcat.report").joinpath("report.schema.json").read_text())
CERTIFICATE = """
    cfcat:   subject: ...
    cfcat:   names: localhost, 127.0.0.1, ::1
    cfcat:   issuer: ...
    cfcat:   valid: ..., N days left
    cfcat:   serial: ...
    cfcat:   sha256: ..."""
SHOWN = {
    "plain": """
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: our side ended
    cfcat: peer ended: 5 bytes received
    cfcat: over after TIME: 5 bytes sent, 5 bytes received
    """,
    "tls": f"""
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: TLS established in TIME: TLSv1.3, TLS_AES_256_GCM_SHA384
    cfcat:   ALPN: none; the peer acknowledged none of h2, smtp
    cfcat:   server name: 127.0.0.1
    cfcat:   certificate: verified, vouched for by ...{CERTIFICATE}
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: our side ended
    cfcat: peer ended: 5 bytes received
    cfcat: over after TIME: 5 bytes sent, 5 bytes received
    """,
    "insecure": f"""
    cfcat: warning: the certificate is not checked (-k): anyone can be at the other end
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: TLS established in TIME: TLSv1.3, TLS_AES_256_GCM_SHA384
    cfcat:   ALPN: none
    cfcat:   server name: 127.0.0.1
    cfcat:   certificate: not verified{CERTIFICATE}
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: our side ended
    cfcat: peer ended: 5 bytes received
    cfcat: over after TIME: 5 bytes sent, 5 bytes received
    """,
    "starttls": rf"""
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: plain text < 220 mail.example \x1b[2J\u202e ready
    cfcat: plain text > EHLO ME
    cfcat: plain text < 250-mail.example
    cfcat: plain text < 250 STARTTLS
    cfcat: plain text > STARTTLS
    cfcat: plain text < 220 go
    cfcat: TLS established in TIME: TLSv1.3, TLS_AES_256_GCM_SHA384
    cfcat:   ALPN: none
    cfcat:   server name: 127.0.0.1
    cfcat:   certificate: verified, vouched for by ...{CERTIFICATE}
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: our side ended
    cfcat: peer ended: 5 bytes received
    cfcat: over after TIME: 5 bytes sent, 5 bytes received
    """,
    # SEC-R1, SEC-R11: what was injected is not shown, and TLS is not spoken of.
    "injected": """
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: plain text < * OK ready
    cfcat: plain text > a CAPABILITY
    cfcat: plain text < * CAPABILITY IMAP4rev1 STARTTLS
    cfcat: plain text < a OK done
    cfcat: plain text > b STARTTLS
    cfcat: plain text < b OK go
    cfcat: over after TIME: 0 bytes sent, 0 bytes received
    cfcat: 127.0.0.1:PORT: 8 bytes of plain text after the STARTTLS go-ahead; refusing (possible injection)
    """,
    # CVE-2024-10977: nor is what an attacker has to say in PostgreSQL's place.
    "refused": r"""
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: plain text > \x00\x00\x00\x08\x04\xd2\x16/
    cfcat: plain text < E
    cfcat: over after TIME: 0 bytes sent, 0 bytes received
    cfcat: 127.0.0.1:PORT: the server refused SSLRequest with an error, whose text cannot be trusted
    """,
    "reset": """
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: our side ended
    cfcat: over after TIME: 5 bytes sent, 11 bytes received
    cfcat: 127.0.0.1:PORT: connection reset by ...
      hint: --shutdown never keeps our end from the server
    """,
    "truncated": f"""
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: TLS established in TIME: TLSv1.3, TLS_AES_256_GCM_SHA384
    cfcat:   ALPN: none
    cfcat:   server name: 127.0.0.1
    cfcat:   certificate: verified, vouched for by ...{CERTIFICATE}
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: our side ended
    cfcat: over after TIME: 5 bytes sent, 11 bytes received
    cfcat: 127.0.0.1:PORT: the connection ended without TLS close_notify: output may be truncated
      hint: --ignore-unexpected-eof accepts it; --shutdown never keeps our end from the server
    """,
    # SEC-R11: TLS is not established before the certificate is verified; what was refused is told.
    "expired": """
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: over after TIME: 0 bytes sent, 0 bytes received
    cfcat: the server's certificate, and its issuers that were found:
    cfcat:   0 subject: ...
    cfcat:     names: localhost, 127.0.0.1, ::1
    cfcat:     issuer: ...
    cfcat:     valid: 2020-01-01 to 2020-01-02, expired N days ago
    cfcat:     serial: ...
    cfcat:     sha256: ...
    cfcat:   1 subject: ...
    cfcat:     names: none
    cfcat:     issuer: ...
    cfcat:     valid: ..., N days left
    cfcat:     serial: ...
    cfcat:     sha256: ...
    cfcat: 127.0.0.1:PORT: certificate not trusted: it expired on 2020-01-02
      hint: whoever runs the server has to renew it; -k connects anyway, without protection
    """,
    "quit": """
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: over after TIME: 5 bytes sent, 0 bytes received
    """,
    "idle": """
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: over after TIME: 5 bytes sent, 0 bytes received
    cfcat: 127.0.0.1:PORT: nothing moved for TIME
    """,
    "race": """
    cfcat: two.test:PORT resolved to 127.0.0.1:OTHER, 127.0.0.1:PORT in TIME
    cfcat: 127.0.0.1:OTHER: given up after TIME
    cfcat: connected to 127.0.0.1:PORT from 127.0.0.1:LOCAL in TIME
    cfcat: stdin ended: 5 bytes sent, our end is held
    cfcat: our side ended
    cfcat: peer ended: 5 bytes received
    cfcat: over after TIME: 5 bytes sent, 5 bytes received
    """,
    "nobody": """
    cfcat: two.test:PORT resolved to 127.0.0.1:PORT, 127.0.0.1:OTHER in TIME
    cfcat: 127.0.0.1:PORT: connection refused after TIME
    cfcat: 127.0.0.1:OTHER: connection refused after TIME
    cfcat: over after TIME: 0 bytes sent, 0 bytes received
    cfcat: two.test:PORT: connection refused (tried 127.0.0.1, 127.0.0.1)
    """,
    "usage": """
    cfcat: -4 and -6 exclude each other
    """,
}
# Status, phase, end, bytes each way.
TOLD: dict[str, tuple[int, str, str | None, int, int]] = {
    "plain": (0, "done", "peer ended", 5, 5),
    "tls": (0, "done", "peer ended", 5, 5),
    "insecure": (0, "done", "peer ended", 5, 5),
    "starttls": (0, "done", "peer ended", 5, 5),
    "injected": (8, "starttls", None, 0, 0),
    "refused": (64, "starttls", None, 0, 0),
    "reset": (56, "session", "reset", 5, 11),
    "truncated": (18, "session", "truncated", 5, 11),
    "expired": (60, "tls", None, 0, 0),
    "quit": (0, "done", "stdin ended", 5, 0),
    "idle": (28, "session", "idle", 5, 0),
    "race": (0, "done", "peer ended", 5, 5),
    "nobody": (7, "connect", None, 0, 0),
    "usage": (2, "usage", None, 0, 0),
}
TIMED = {
    "plain": {"dns", "connect", "first_byte"},
    "tls": {"dns", "connect", "tls", "first_byte"},
    "starttls": {"dns", "connect", "starttls", "tls", "first_byte"},
    "expired": {"dns", "connect"},
    "nobody": {"dns"},
    "usage": set(),
}


def report_of(result: Result) -> dict[str, Any]:
    """The report, which is all that stderr has; checked by the schema that comes with the package."""
    assert result.stderr.count("\n") == 1
    report = json.loads(result.stderr)
    assert list(violations(report, SCHEMA)) == []
    assert isinstance(report, dict)
    return report


def echo(conn: Peer) -> None:
    conn.send(conn.recv_until_eof())


def fingerprint(certificate: Certificate) -> str:
    """Of the first certificate in its file."""
    first = x509.load_pem_x509_certificates(certificate.chain.read_bytes())[0]
    return first.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("self_signed", 1), ("untrusted", 1), ("incomplete", 1), ("wrong_host", 2), ("not_yet", 2)],
)
def test_what_was_presented_is_told_where_it_is_not_trusted(kind: Kind, shown: int, certs: CertSet) -> None:
    """Status 60: the certificate, whole, and as much of its chain as was found, to a person and to a program."""
    with serve(lambda conn: conn.start_tls(certs.server_context(kind), may_fail=True)) as server:
        said, told = (
            cfcat("-z", flag, "--tls", "on", "--cacert", certs.ca, server.address) for flag in ("-v", "--json")
        )
    chain = report_of(told)["untrusted_chain"]
    assert (said.status, told.status, len(chain)) == (60, 60, shown)
    assert chain[0]["sha256"] == fingerprint(certs[kind])
    for certificate in chain:
        for name in ("subject", "issuer", "serial", "sha256"):
            assert f" {name}: {certificate[name]}\n" in said.stderr
        assert f" valid: {certificate['not_before'][:10]} to {certificate['not_after'][:10]}, " in said.stderr


def test_a_script_tells_what_was_presented_to_it(certs: CertSet) -> None:
    """And not the TLS of the connection before it."""

    def greets_under_tls(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    with (
        serve(greets_under_tls) as good,
        serve(lambda conn: conn.start_tls(certs.server_context("expired"), may_fail=True)) as bad,
    ):
        told = cfcat(
            *("--repl", "--json", "--tls", "on", "--cacert", certs.ca, good.address),
            stdin=f":open --tls on {bad.address}\n".encode(),
        )
    report = report_of(told)
    assert (report["status"], report["remote_address"], report["tls"]) == (60, bad.address, None)
    assert report["untrusted_chain"][0]["sha256"] == fingerprint(certs["expired"])


@pytest.mark.parametrize("kind", RUNS)
def test_verbose(kind: str, certs: CertSet) -> None:
    """Golden: each address, both ends, the dialog, TLS and who vouches, both ends of the data, the sum."""
    run = RUNS[kind](certs, ("-v",))
    assert normalized(run) == golden(SHOWN[kind])
    assert run.result.status == TOLD[kind][0]


@pytest.mark.parametrize("kind", RUNS)
def test_json(kind: str, certs: CertSet) -> None:
    """The same facts for a program: alone on stderr, by its schema, also where the run failed."""
    run = RUNS[kind](certs, ("--json",))
    report = report_of(run.result)
    sums = report["bytes"]
    told = (report["status"], report["phase"], report["end"], sums["sent"], sums["received"])
    assert told == TOLD[kind]
    assert run.result.status == report["status"]
    assert (report["message"] is None) == (report["status"] == 0)
    assert report["times"].pop("total") >= 0
    if kind in TIMED:
        assert {name for name, seconds in report["times"].items() if seconds is not None} == TIMED[kind]
    addresses = [(tried["address"], tried["outcome"], tried["error"]) for tried in report["addresses"]]
    if kind == "race":
        live, dead = (f"127.0.0.1:{port}" for port in run.ports)
        assert sorted(addresses) == sorted([(dead, "abandoned", None), (live, "connected", None)])
        assert report["remote_address"] == live
    elif kind == "nobody":
        assert addresses == [(f"127.0.0.1:{port}", "failed", "connection refused") for port in run.ports]
    tls, untrusted = report["tls"], report["untrusted_chain"]
    assert (untrusted is not None) == (kind == "expired")
    if untrusted:
        assert untrusted[0]["not_after"] == "2020-01-02T00:00:00Z"
        assert untrusted[0]["sha256"] == fingerprint(certs["expired"])
    if kind not in ("tls", "insecure", "starttls", "truncated"):
        assert tls is None
        return
    assert tls["verified"] == (kind != "insecure")
    assert tls["certificate"] == tls["chain"][0]
    assert len(tls["chain"]) == 1 + tls["verified"]
    assert report["notes"] == [note for note in report["notes"] if "-k" in note]
    assert len(report["notes"]) == (kind == "insecure")


def test_json_comes_last() -> None:
    """With -v the lines are for people, and the last one is the report."""
    with serve(echo) as server:
        result = cfcat("-v", "--json", server.address, stdin=b"x")
    *lines, last = result.stderr.splitlines()
    assert all(line.startswith("cfcat: ") for line in lines)
    assert json.loads(last)["bytes"] == {"sent": 1, "received": 1}


@pytest.mark.parametrize("arguments", [["--tls"], ["--nonsense", "h:1"], [], ["h"], ["h:1", "--sni", "x"]])
def test_json_of_a_command_line_that_makes_no_sense(arguments: list[str]) -> None:
    """What the parser finds, and what we find."""
    report = report_of(cfcat("--json", *arguments))
    assert (report["status"], report["phase"], report["target"]) == (2, "usage", "")
    plain = check_form(cfcat(*arguments).stderr)
    assert (report["message"], report["hint"] or "") == plain


def test_jq_takes_it(certs: CertSet) -> None:
    """As a monitoring script would ask: how many days are left?"""
    demand("jq")

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())

    with serve(script) as server:
        flags = f"--json --tls on --cacert {certs.ca} {server.address}"
        result = shell(f"set -o pipefail; cfcat {flags} 2>&1 >/dev/null </dev/null | jq -e .tls.certificate.days_left")
    assert result.status == 0, result.stderr
    assert int(result.stdout) > 1000


def test_the_reader_of_stdout_goes() -> None:
    """It ends by SIGPIPE as ever, and is told of."""

    def script(conn: Peer) -> None:
        conn.send(b"first\n")
        conn.wait(read)
        while conn.ended is None:
            conn.recv()

    import threading

    read = threading.Event()
    with serve(script) as server, start("--json", server.address) as program:
        program.read_until(b"first\n")
        assert program.stdout is not None
        program.stdout.close()
        read.set()
        assert program.wait(10) == -13
        assert program.stderr is not None
        report = json.loads(program.stderr.read())
    assert (report["status"], report["end"]) == (141, "stdout closed")


def test_bytes_of_each_read_and_write() -> None:
    """-vv: a line for each, with its direction."""
    with serve(echo) as server:
        result = cfcat("-vv", server.address, stdin=b"ping\n")
    lines = result.stderr.splitlines()
    assert "cfcat: > 5 bytes" in lines
    assert "cfcat: < 5 bytes" in lines
    assert "00000000" not in result.stderr


@pytest.mark.parametrize("flags", [["-x"], ["-vvv"], ["--hexdump"]])
def test_hexdump(flags: list[str]) -> None:
    """Both directions, marked, each with its own offset; without colour where that is no terminal."""
    data = bytes(range(20))
    with serve(echo) as server:
        result = cfcat(*flags, server.address, stdin=data)
    assert result.stdout == data
    rows = [line for line in result.stderr.splitlines() if not line.startswith("cfcat: ")]
    text = [
        "00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f |................|",
        "00000010  10 11 12 13                                      |....|",
    ]
    assert rows == [f"{mark} {row}" for mark in "><" for row in text]
    assert (len(rows) == len(result.stderr.splitlines())) == (flags != ["-vvv"])


@pytest.mark.parametrize(
    ("flags", "env", "colored"),
    [
        ([], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color", "never"], {"CLICOLOR_FORCE": "1"}, False),
    ],
)
def test_colour_is_asked_for(flags: list[str], env: dict[str, str], colored: bool) -> None:
    """Into a pipe: only where the option or the environment wants it."""
    with serve(echo) as server:
        result = cfcat("-x", *flags, server.address, stdin=b"x", env=env)
    assert ("\x1b[36m" in result.stderr) == colored


# ------------------------------------------------------------------------------------------------ --log


def test_log(certs: CertSet, tmp_path: Path) -> None:
    """What was said, before and under TLS, with the secrets masked; stderr stays silent."""
    log = tmp_path / "log"
    run = RUNS["starttls"](certs, ("--log", str(log)))
    assert (run.result.stderr, run.result.status) == ("", 0)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    entries = [parse_entry(line) for line in log.read_text().splitlines()]
    said = [(entry.direction, entry.tls, entry.data) for entry in entries if entry.direction != "*"]
    assert said[0] == ("<", False, b"220 mail.example \x1b[2J\xe2\x80\xae ready\r\n")
    assert said[-3:] == [("<", False, b"220 go\r\n"), (">", True, b"ping\n"), ("<", True, b"ping\n")]
    events = [entry.data.decode() for entry in entries if entry.direction == "*"]
    beginnings = [
        "the client's transcript of",
        "connected to",
        "TLS established",
        "stdin ended",
        "peer ended",
        "over after",
    ]
    assert [begin for begin in beginnings if any(event.startswith(begin) for event in events)] == beginnings


@pytest.mark.parametrize("flags", [[], ["--log-secrets"]])
def test_secrets_in_the_log(tmp_path: Path, flags: list[str]) -> None:
    """Masked, also where all is sent before the server has asked for it; unless they are wanted."""
    log = tmp_path / "log"
    with serve(echo) as server:
        cfcat("--log", log, *flags, server.address, stdin=b"AUTH LOGIN\r\nam9l\r\nc2VjcmV0\r\nPASS hunter2\r\n")
    sent = [entry.data for line in log.read_text().splitlines() if (entry := parse_entry(line)).direction == ">"]
    if flags:
        assert sent == [b"AUTH LOGIN\r\n", b"am9l\r\n", b"c2VjcmV0\r\n", b"PASS hunter2\r\n"]
    else:
        assert sent == [b"AUTH LOGIN\r\n", b"****\r\n", b"****\r\n", b"PASS ****\r\n"]


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """That is known before anything is connected, with status 23."""
    with refusing() as port:
        result = cfcat("--log", tmp_path, f"127.0.0.1:{port}")
    text, _ = check_form(result.stderr)
    assert (text, result.status) == (f"cannot write {tmp_path}: is a directory", 23)


def test_a_log_on_a_full_disk() -> None:
    """The run goes on, and it is said that the log is not complete."""
    with serve(echo) as server:
        result = cfcat("--log", "/dev/full", server.address, stdin=b"data")
    assert (result.stdout, result.status) == (b"data", 0)
    assert result.stderr == "cfcat: warning: the log is not complete: no space left on device\n"


def test_log_secrets_needs_a_log() -> None:
    """An option that would do nothing is an error."""
    result = cfcat("--log-secrets", "localhost:1")
    assert (check_form(result.stderr)[0], result.status) == ("--log-secrets needs --log FILE, or --events FILE", 2)


def test_the_error_is_in_the_log(tmp_path: Path) -> None:
    """The last entry says how it ended."""
    log = tmp_path / "log"
    with refusing() as port:
        result = cfcat("--log", log, f"127.0.0.1:{port}")
    assert result.status == 7
    assert log.read_text().splitlines()[-1].endswith(f" * - 127.0.0.1:{port}: connection refused")


# ----------------------------------------------------------------------------------------- hostile peers


def test_rows_77_and_86_nothing_that_a_peer_says_reaches_the_terminal(tmp_path: Path) -> None:
    """SEC-R20: a certificate with ESC, newline and U+202E, and a banner with sequences, escaped in every output."""
    hostile = make_hostile(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(hostile.pem, hostile.key)

    def script(conn: Peer) -> None:
        conn.send(b"220 \x1b]0;pwn\x07\xc2\x9b\xff\xe2\x80\xae ready\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250 \x1b[2J\r\n")
        conn.recv_until(b"\n")
        conn.send(b"220 \x1b[6n\r\n")
        conn.start_tls(context)
        conn.send(b"\x1b[31m\xe2\x80\xae")
        conn.recv_until_eof()

    log = tmp_path / "log"
    with serve(script) as server:
        flags = ["-vvv", "--json", "--log", str(log), "--starttls", "smtp", "--cacert", str(hostile.pem)]
        result = cfcat(*flags, "--sni", "localhost", server.address)
    assert result.status == 0, result.stderr
    assert result.stdout == b"\x1b[31m\xe2\x80\xae"
    for text in (result.stderr, log.read_text()):
        assert all(character.isprintable() or character == "\n" for character in text), ascii(text)
        assert r"\x1b]0;pwn\x07" in text
    assert result.stderr.count(r"\x0a\u202egood.example") >= 2
    report = json.loads(result.stderr.splitlines()[-1])
    assert report["tls"]["certificate"]["subject"].startswith("CN=\x1b]0\\;pwn\x07\n\u202egood.example")
    assert report["tls"]["certificate"]["days_left"] == 10
    line = next(line for line in result.stderr.splitlines() if line.startswith("cfcat:   names: "))
    assert len(line) < 500  # and not three hundred names
    assert re.search(r", \d+ more$", line)


# ------------------------------------------------------------------------------------ stderr, whatever it is

LOUD = ("-vvv", "--json", "--color", "always")


def check_unchanged(stderr: int, certs: CertSet) -> None:
    """Data and status of a run that says much, with this for its stderr."""
    data = bytes(range(256)) * 512

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        echo(conn)

    flags = (*LOUD, "--tls", "on", "--cacert", str(certs.ca))
    with serve(script) as server, start(*flags, server.address, stderr=stderr, timeout_s=30) as program:
        stdout, _ = program.communicate(data, timeout=30)
    assert stdout == data
    assert program.returncode == 0


def test_row_29_stderr_is_a_pipe_that_nobody_reads(certs: CertSet) -> None:
    """It is full soon, and the run does not wait."""
    reader, writer = os.pipe()
    check_unchanged(writer, certs)
    os.close(reader)
    os.close(writer)


def test_row_29_stderr_has_lost_its_reader(certs: CertSet) -> None:
    """No SIGPIPE comes of that, and no error."""
    reader, writer = os.pipe()
    os.close(reader)
    check_unchanged(writer, certs)
    os.close(writer)


def test_row_29_stderr_is_full(certs: CertSet) -> None:
    """A disk without room for a message has none for a failure."""
    with open("/dev/full", "wb") as full:
        check_unchanged(full.fileno(), certs)


def test_row_29_stderr_is_closed() -> None:
    """Nothing else becomes descriptor 2."""
    with serve(echo) as server:
        result = shell(f"printf data | cfcat {' '.join(LOUD)} {server.address} 2>&-")
    assert result == Result(b"data", "", 0)


def test_row_29_a_message_for_nobody() -> None:
    """The status of a failure is the same, with a stderr that is full before it begins."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    with refusing() as port, start(f"127.0.0.1:{port}", stderr=writer) as program:
        assert program.wait(10) == 7
    assert os.get_blocking(writer)  # row 39
    os.close(reader)
    os.close(writer)


# --------------------------------------------------------------------------------------------- sessions


def test_a_script_shows_the_same(tmp_path: Path) -> None:
    """-v and -x, from the same facts; the transcript is the session's own."""
    log = tmp_path / "log"

    def script(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        echo(conn)

    with serve(script) as server:
        result = cfcat("--repl", "-v", "-x", "--log", log, server.address, stdin=b":expect ready\nPASS x\n")
    assert (result.stdout, result.status) == (b"220 ready\r\nPASS x\r\n", 0)
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"cfcat: connected to {server.address} from 127.0.0.1:")
    assert "> 00000000  50 41 53 53 20 78 0d 0a                          |PASS x..|" in lines
    assert "cfcat: peer ended: 19 bytes received" in lines
    assert lines[-1].endswith(": 8 bytes sent, 19 bytes received")
    assert b"PASS ****" in log.read_bytes()


@pytest.mark.parametrize(
    ("script", "status", "phase", "message"),
    [
        (b":expect ready\n", 0, "done", None),
        (b":expect -t 0.1 nothing\n", 1, "session", "line 1: :expect nothing"),
        (b"x\n:nonsense\n", 1, "session", "line 2: "),
    ],
)
def test_json_of_a_script(script: bytes, status: int, phase: str, message: str | None) -> None:
    """It alone is on stderr, and says which line failed and why."""

    def greet(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        conn.recv_until_eof()

    with serve(greet) as server:
        result = cfcat("--repl", "--json", server.address, stdin=script)
    report = report_of(result)
    assert (report["mode"], report["status"], report["phase"]) == ("script", status, phase)
    assert result.status == status
    assert (report["message"] or "").startswith(message or "")
    assert (report["message"] is None) == (message is None)


def test_json_of_a_script_without_a_connection() -> None:
    """As in pipe mode."""
    with refusing() as port:
        report = report_of(cfcat("--repl", "--json", f"127.0.0.1:{port}", stdin=b"x\n"))
    assert (report["mode"], report["status"], report["phase"], report["end"]) == ("script", 7, "connect", None)


# ----------------------------------------------------------------------------------------------- tracebacks


@pytest.mark.parametrize("arguments", [["nonsense"], ["--tls", "on", "--cacert", "/nowhere", "a:1"], ["a..b:1"]])
def test_traceback_for_who_wants_it(arguments: list[str]) -> None:
    """CFCAT_DEBUG=1 shows where the error comes from, before the message; without it nothing does."""
    plain = cfcat(*arguments)
    assert "Traceback" not in plain.stderr
    debugged = cfcat(*arguments, env={"CFCAT_DEBUG": "1"})
    assert debugged.stderr.startswith("Traceback (most recent call last):\n")
    assert debugged.stderr.endswith(plain.stderr)
    assert (debugged.stdout, debugged.status) == (b"", plain.status)
