"""`--events FILE`: a run as a stream of JSON objects, by real processes; other programs read it, or drive a run."""

from __future__ import annotations

import json
import os
import random
import re
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.events import Told, joined, names, read_events
from tests.helpers.installed import demand
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Program, Result, cfcat, finish, shell, start
from tests.helpers.terminal import terminal
from tests.program.runs import RUNS
from tests.report.form import check_form

pytestmark = pytest.mark.one_python


def echo(conn: Peer) -> None:
    conn.send(conn.recv_until_eof())


def answering(conn: Peer) -> None:
    """Answer each line, and end at QUIT."""
    conn.send(b"220 hello\r\n")
    while (line := conn.recv_until(b"\n")) != b"QUIT\r\n":
        conn.send(b"250 " + line)
    conn.send(b"221 bye\r\n")


def answering_once(conn: Peer) -> None:
    """Speak first, then listen to the end."""
    conn.send(b"220 hello\r\n")
    conn.recv_until_eof()


def one(events: list[Told], name: str) -> Told:
    """The only event of this name."""
    (event,) = [event for event in events if event["event"] == name]
    return event


# ------------------------------------------------------------------------------------------ what is told

STARTED = ["resolved", "attempt", "connected"]
# Of each kind of run, the events without those of bytes, whose order is the network's.
TOLD: dict[str, list[str]] = {
    "plain": [*STARTED, "ended", "ended", "exit"],
    "tls": [*STARTED, "tls", "ended", "ended", "exit"],
    "insecure": ["note", *STARTED, "tls", "ended", "ended", "exit"],
    "starttls": [*STARTED, "dialog", "tls", "ended", "ended", "exit"],
    "injected": [*STARTED, "dialog", "error", "exit"],
    "refused": [*STARTED, "dialog", "error", "exit"],
    "reset": [*STARTED, "ended", "error", "exit"],
    "truncated": [*STARTED, "tls", "ended", "error", "exit"],
    "expired": [*STARTED, "error", "exit"],
    "quit": [*STARTED, "exit"],
    "idle": [*STARTED, "error", "exit"],
    "race": ["resolved", "attempt", "attempt", "connected", "ended", "ended", "exit"],
    "nobody": ["resolved", "attempt", "attempt", "error", "exit"],
    "usage": ["error", "exit"],
}


@pytest.mark.parametrize("kind", RUNS)
def test_the_events_of_each_kind_of_run(certs: CertSet, kind: str) -> None:
    """On standard error there is nothing else, whatever becomes of the run; all of it is of the schema."""
    result = RUNS[kind](certs, ("--events", "-")).result
    events = read_events(result.stderr)
    told = [event["event"] for event in events if event["event"] not in ("sent", "received")]
    squeezed = [name for before, name in zip(["", *told], told, strict=False) if not name == before == "dialog"]
    assert squeezed == TOLD[kind], result.stderr
    assert events[-1]["status"] == result.status
    assert joined(events, "received").startswith(result.stdout)


def test_the_result_is_that_of_a_run_without(certs: CertSet) -> None:
    """Data and status, and what is said on standard error where the events go elsewhere."""
    for kind in ("plain", "insecure", "reset", "nobody"):
        usual = RUNS[kind](certs, ())
        result = RUNS[kind](certs, ("--events", "/dev/null"))
        assert (result.result.stdout, result.result.status) == (usual.result.stdout, usual.result.status)
        assert len(result.result.stderr.splitlines()) == len(usual.result.stderr.splitlines())


def test_tls_is_told(certs: CertSet) -> None:
    """Version, names and the certificate; and that bytes went under it."""
    events = read_events(RUNS["tls"](certs, ("--events", "-")).result.stderr)
    tls = one(events, "tls")
    assert (tls["version"], tls["alpn"], tls["verified"], tls["peer"]) == ("TLSv1.3", None, True, "server")
    assert tls["certificate"] == tls["chain"][0]
    assert {event["tls"] for event in events if event["event"] in ("sent", "received")} == {True}


def test_the_bytes_of_a_dialog_are_in_dialog_alone(certs: CertSet) -> None:
    """Those of the application begin at 0 behind it."""
    events = read_events(RUNS["starttls"](certs, ("--events", "-")).result.stderr)
    assert (joined(events, "sent"), joined(events, "received")) == (b"ping\n", b"ping\n")
    dialog = [(event["direction"], event.get("text", "")) for event in events if event["event"] == "dialog"]
    assert dialog[0][0] == "received"
    assert ("sent", "STARTTLS\r\n") in dialog


def test_the_bytes_of_both_directions(tmp_path: Path) -> None:
    """Many chunks of anything, both ways: joined, exactly what moved."""
    data = random.Random(5).randbytes(1 << 20) + "é\n".encode() * 100_000
    path = tmp_path / "events"
    with serve(echo) as server:
        result = cfcat("--events", path, "--log-secrets", server.address, stdin=data, timeout_s=60)
    events = read_events(path.read_text())
    assert (result.stdout == data, result.stderr, result.status) == (True, "", 0)
    assert joined(events, "sent") == data == joined(events, "received")
    ends = [(event["direction"], event["offset"]) for event in events if event["event"] == "ended"]
    assert ends == [("sent", len(data)), ("received", len(data))]


@pytest.mark.parametrize("flags", [(), ("--log-secrets",)])
def test_secrets_are_masked(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Unless they are wanted."""
    path = tmp_path / "events"
    with serve(Peer.recv_until_eof) as server:
        cfcat("--events", path, *flags, server.address, stdin=b"USER me\r\nPASS hunter2\r\n")
    shown = b"hunter2" if flags else b"****"
    assert joined(read_events(path.read_text()), "sent") == b"USER me\r\nPASS " + shown + b"\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_reaches_a_terminal_as_it_is() -> None:
    """Escape sequences, controls, DEL and bidirectional characters; JSON has them all again."""
    evil = "\x1b[2J\x07\x7f\x9b\u202e\n"
    with serve(lambda conn: conn.send(evil.encode())) as server:
        result = cfcat("--events", "-", server.address)
    assert all(" " <= character <= "~" or character == "\n" for character in result.stderr)
    assert joined(read_events(result.stderr), "received").decode() == evil


# --------------------------------------------------------------------------------------- the other modes


def test_a_check_tells_what_came() -> None:
    """`-z`: nothing is sent."""
    with serve(answering_once) as server:
        result = cfcat("-z", "--events", "-", server.address)
    events = read_events(result.stderr)
    assert names(events) == [*STARTED, "received", "exit"]
    assert joined(events, "received") == b"220 hello\r\n"


def test_a_wait_tells_why_it_has_failed() -> None:
    """A note for each reason, then the error."""
    with refusing() as port:
        result = cfcat("--wait", "0.5", "--events", "-", f"127.0.0.1:{port}")
    events = read_events(result.stderr)
    assert "not ready: " in one(events, "note")["text"]
    assert (one(events, "exit")["status"], result.status) == (7, 7)


def listening(program: Program) -> int:
    """The port, by its event."""
    said = program.read_stderr_until("\n")
    address = one(read_events(said[: said.rindex("\n") + 1]), "listening")["addresses"][0]
    return int(address.rpartition(":")[2])


def test_connections_that_are_accepted_have_numbers() -> None:
    """`-l --keep`: each with its bytes from 0; where to connect is said by an event, and by no line."""
    with start("-l", "--keep", "--events", "-", "0", stdin=subprocess.DEVNULL) as program:
        port = listening(program)
        for word in (b"one", b"three"):
            assert cfcat(f"127.0.0.1:{port}", stdin=word).status == 0
            program.read_stderr_until(f'"text": "{word.decode()}"')
        program.read_stderr_until('"connection": 2')
        program.terminate()
        result = finish(program)
    events = read_events(result.stderr)
    assert (joined(events, "received", 1), joined(events, "received", 2)) == (b"one", b"three")
    peers = [event["peer"] for event in events if event["event"] == "connected"]
    assert peers == ["client", "client"]


def test_a_client_under_tls(tmp_path: Path) -> None:
    """`-l --tls on`: what the client asked for; which authority it is to trust is a note, before there is a client."""
    with start("-l", "--tls", "on", "--events", "-", "0", stdin=subprocess.DEVNULL) as program:
        program.read_stderr_until('"listening"')
        said = program.read_stderr_until("]}\n")
        trust, listens = read_events(said)
        (path,) = re.findall(r"with (/\S+)", trust["text"])
        port = listens["addresses"][0].rpartition(":")[2]
        client = cfcat("--tls", "on", "--cacert", path, f"localhost:{port}", stdin=b"hello")
        assert client.status == 0, client.stderr
        result = finish(program)
    events = read_events(result.stderr)
    assert (trust["event"], trust["connection"]) == ("note", 0)
    assert one(events, "connected")["peer"] == one(events, "tls")["peer"] == "client"
    assert (one(events, "tls")["server_name"], joined(events, "received")) == ("localhost", b"hello")


def greeting_and_one(conn: Peer) -> None:
    conn.send(b"220 hello\r\n")
    conn.send(b"250 " + conn.recv_until(b"\n"))
    conn.recv_until_eof()


def test_a_script_tells_lines_matches_and_failures() -> None:
    """What commands show is a note, as a match is; the line that failed is the error."""
    with serve(greeting_and_one) as server:
        script = b":expect ^220\n:echo so far\nEHLO me\n:expect -t 5 EHLO\n:nonsense\n"
        result = cfcat("--repl", "--events", "-", server.address, stdin=script)
    events = read_events(result.stderr)
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert notes == ["expected ^220", "so far", "expected EHLO"]
    assert one(events, "error")["message"].startswith("line 5: ")
    assert (one(events, "exit")["status"], result.status) == (1, 1)
    assert joined(events, "sent") == b"EHLO me\r\n"


def test_a_script_upgrades_and_opens_again(certs: CertSet) -> None:
    """`:starttls` has its dialog and its TLS, and `:open` is the next connection."""

    def script(conn: Peer) -> None:
        conn.send(b"220 mail.example\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250-mail.example\r\n250 STARTTLS\r\n")
        conn.recv_until(b"\n")
        conn.send(b"220 go\r\n")
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    lines = b":expect ^220\n:starttls smtp\nNOOP\n:open\n:expect ^220\n:starttls smtp\n"
    with serve(script) as server:
        options = ("--repl", "--tls", "starttls", "--cacert", certs.ca, "--events", "-")
        result = cfcat(*options, f"localhost:{server.port}", stdin=lines)
    events = read_events(result.stderr)
    assert result.status == 0, result.stderr
    for number in (1, 2):
        told = names([event for event in events if event["connection"] == number and event["event"] != "note"])
        assert told[:6] == [*STARTED, "received", "dialog", "tls"]
    assert (joined(events, "sent", 1), joined(events, "sent", 2)) == (b"NOOP\r\n", b"")


def test_a_secret_of_a_script_is_masked() -> None:
    """`:secret` sends one, whatever it looks like."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--repl", "--events", "-", server.address, stdin=b":secret\n", env={"CFCAT_SECRET": "hunter2"})
    assert server.received == b"hunter2\r\n"
    assert "hunter2" not in result.stderr
    assert joined(read_events(result.stderr), "sent") == b"****\r\n"


def test_a_session_on_a_terminal(tmp_path: Path) -> None:
    """Its events are in a file; on the terminal itself they are refused."""
    path = tmp_path / "events"
    with serve(answering) as server, terminal("--events", str(path), server.address) as screen:
        screen.expect("220 hello")
        screen.type("EHLO me\r")
        screen.expect("250 EHLO me")
        screen.type("QUIT\r")
        screen.expect("221 bye")
        screen.type("\x04")
        assert screen.finish() == 0
    events = read_events(path.read_text())
    assert joined(events, "sent") == b"EHLO me\r\nQUIT\r\n"
    assert joined(events, "received") == b"220 hello\r\n250 EHLO me\r\n221 bye\r\n"
    with terminal("--events", "-", "localhost:1") as screen:
        screen.expect("would write over the session")
        assert screen.finish() == 2


# ------------------------------------------------------------------------------------------ other programs


def test_a_program_drives_a_session_by_events_alone(certs: CertSet) -> None:
    """It says the next line when the answer to the last one is there, upgrades in between, and ends at the last."""

    def server_part(conn: Peer) -> None:
        conn.send(b"220 mail.example\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250-mail.example\r\n250 STARTTLS\r\n")
        conn.recv_until(b"\n")
        conn.send(b"220 go\r\n")
        conn.start_tls(certs.server_context())
        while (line := conn.recv_until(b"\n")) != b"QUIT\r\n":
            conn.send(b"250-more\r\n" if line.startswith(b"EHLO") else b"")
            conn.send(b"250 ok\r\n")
        conn.send(b"221 bye\r\n")
        conn.recv_until_eof()

    with serve(server_part) as server:
        options = ("--repl", "--tls", "starttls", "--cacert", certs.ca, "--events", "-")
        with start(*options, f"localhost:{server.port}", timeout_s=30) as program:
            assert program.stderr is not None
            lines = iter(["EHLO agent", "MAIL FROM:<a@b>", "QUIT"])
            heard, secure = "", False
            for row in program.stderr:
                (event,) = read_events(row.decode())
                if event["event"] == "tls":
                    secure, heard = True, "250 as if\r\n"
                elif event["event"] == "received":
                    heard += event["text"]
                elif event["event"] == "ended" and event["direction"] == "received":
                    break
                if heard.endswith("\r\n") and heard.splitlines()[-1][3:4] == " ":
                    if not secure:
                        program.say(b":starttls smtp\n")
                    elif (line := next(lines, None)) is not None:
                        program.say(f"{line}\n".encode())
                    else:
                        program.end_input()
                    heard = ""
            result = finish(program)
    assert result.status == 0
    assert server.received.endswith(b"EHLO agent\r\nMAIL FROM:<a@b>\r\nQUIT\r\n")


def test_jq_reads_the_stream() -> None:
    """As in the manual: what the server has said, and the last status."""
    demand("jq")
    with serve(answering) as server:
        result = shell(
            f"printf 'EHLO me\\r\\nQUIT\\r\\n' | cfcat --events - {server.address} 2>&1 >/dev/null |"
            """ jq -rj 'select(.event == "received").text, select(.event == "exit").status'"""
        )
        assert result == Result(b"220 hello\r\n250 EHLO me\r\n221 bye\r\n0", "", 0)


def test_a_process_substitution_reads_it_live() -> None:
    """A pipe by its name, as bash has it."""
    demand("jq")
    with serve(answering_once) as server:
        result = shell(f"cfcat -z --events >(jq -r .event >&2) {server.address}; wait $!; echo $?", timeout_s=20)
    assert result.stdout.split() == [b"0"]
    assert result.stderr.split() == [*STARTED, "received", "exit"]


# --------------------------------------------------------------------------- readers and files of any kind

LARGE = random.Random(7).randbytes(1 << 20)


def run_large(stderr: int) -> int:
    """A run that has much to tell: its status, once its data is found to be whole."""
    with serve(echo) as server, start("--events", "-", server.address, stderr=stderr, timeout_s=30) as program:
        stdout, _ = program.communicate(LARGE, timeout=30)
        assert stdout == LARGE
        return program.returncode


def test_nobody_reads_standard_error() -> None:
    """The data does not wait; what could be read by then is whole lines."""
    reader, writer = os.pipe()
    assert run_large(writer) == 0
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        *whole, _torn = file.read().split(b"\n")
    assert names(read_events(b"\n".join(whole).decode()))[:3] == STARTED


def test_the_reader_of_standard_error_has_gone() -> None:
    """No signal comes of that, and no error."""
    reader, writer = os.pipe()
    os.close(reader)
    assert run_large(writer) == 0
    os.close(writer)


def test_standard_error_is_full() -> None:
    """Data and status stay as they are."""
    with open("/dev/full", "wb") as full:
        assert run_large(full.fileno()) == 0


@pytest.mark.parametrize("reads", [True, False])
def test_a_fifo(tmp_path: Path, reads: bool) -> None:
    """A reader gets everything, one that has gone holds up nothing, and changes no status."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    seen = bytearray()

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            while data := file.read(5000):
                seen.extend(data)
                if not reads:
                    return

    reader = threading.Thread(target=read)
    keeper = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # so that there is a reader from the beginning on
    reader.start()
    try:
        with serve(echo) as server, start("--events", path, server.address, timeout_s=30) as program:
            program.say(b"begin\n")
            program.read_until(b"")
            os.close(keeper)
            stdout, stderr = program.communicate(LARGE, timeout=30)
        assert (stdout == b"begin\n" + LARGE, stderr, program.returncode) == (True, b"", 0)
    finally:
        reader.join(10)
    if reads:
        assert names(read_events(seen.decode()))[-1] == "exit"


def test_a_fifo_that_nobody_reads(tmp_path: Path) -> None:
    """That is known at once: 23, and nothing has been connected to."""
    os.mkfifo(tmp_path / "fifo")
    with refusing() as port:
        result = cfcat("--events", tmp_path / "fifo", f"127.0.0.1:{port}")
    assert check_form(result.stderr)[0] == f"cannot write {tmp_path}/fifo: nobody reads it"
    assert result.status == 23


@pytest.mark.parametrize("flags", [(), ("--tap", "0")])
def test_a_file_that_cannot_be_written(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The same, in the tap too."""
    with refusing() as port:
        result = cfcat(*flags, "--events", tmp_path, f"127.0.0.1:{port}")
    assert (check_form(result.stderr)[0], result.status) == (f"cannot write {tmp_path}: is a directory", 23)


def test_a_full_disk_is_told_and_the_data_goes_on() -> None:
    """The status is 23 where it would have been 0."""
    with serve(echo) as server:
        result = cfcat("--events", "/dev/full", server.address, stdin=b"data")
    assert result == Result(b"data", "cfcat: cannot write /dev/full: no space left on device\n", 23)


def test_a_full_disk_beside_another_failure() -> None:
    """That one counts, and the disk is a warning."""
    with refusing() as port:
        result = cfcat("--events", "/dev/full", f"127.0.0.1:{port}")
    first, second = result.stderr.splitlines()
    assert first == "cfcat: warning: the events are not complete: no space left on device"
    assert (second, result.status) == (f"cfcat: 127.0.0.1:{port}: connection refused", 7)


def test_a_second_run_is_appended(tmp_path: Path) -> None:
    """Nothing that was kept is lost."""
    path = tmp_path / "events"
    for _ in range(2):
        with serve(answering_once) as server:
            assert cfcat("-z", "--events", path, server.address).status == 0
    runs = path.read_text().split('{"event": "resolved"')
    assert [run.count('"exit"') for run in runs] == [0, 1, 1]


# --------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("option", ["-v", "-x", "--json", "--progress"])
def test_what_else_would_be_on_standard_error_is_refused(option: str) -> None:
    """By events, as all that is wrong with the options."""
    result = cfcat("--events", "-", option, "localhost:1")
    error, end = read_events(result.stderr)
    assert error["message"] == f"--events - excludes {option}: standard error has nothing else then"
    assert (end["status"], result.status) == (2, 2)


def test_another_file_goes_with_everything(tmp_path: Path) -> None:
    """Report, log, export and events of one run."""
    path = tmp_path / "events"
    with serve(echo) as server:
        files = ("--log", tmp_path / "log", "--export", tmp_path / "worker.js", f"--events={path}")
        result = cfcat("-v", "--json", *files, server.address, stdin=b"data\n")
    report = json.loads(result.stderr.splitlines()[-1])
    assert report["bytes"] == {"sent": 5, "received": 5}
    assert joined(read_events(path.read_text()), "sent") == b"data\n"
    assert (tmp_path / "log").read_text().splitlines()[0].split()[-1] == server.address
