"""`cfcat --tap --events FILE`: each connection by its number, `sent` being the client's."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.events import Told, joined, read_events
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Program, cfcat, finish, start
from tests.tap.sides import Side
from tests.tap.tapping import Tap, tapping

pytestmark = pytest.mark.one_python


def echo(conn: Peer) -> None:
    conn.send(conn.recv_until_eof())


def dial(tap: Tap) -> Side:
    return Side(socket.create_connection(("127.0.0.1", tap.port)))


def of(events: list[Told], connection: int) -> list[str]:
    """What is told of one connection, but for its bytes."""
    told = [event["event"] for event in events if event["connection"] == connection]
    return [name for name in told if name not in ("sent", "received")]


def test_two_connections_side_by_side(tmp_path: Path) -> None:
    """Each has its own number and offsets; both ends of it are told, and what becomes of it."""
    path = tmp_path / "events"
    with serve(echo) as server, tapping(server.address, "--events", path, folder=tmp_path) as tap:
        first, second = dial(tap), dial(tap)
        for side, data in ((second, b"two\xff"), (first, b"one")):
            side.send(data)
        for side in (first, second):
            side.fin()
            side.hear_all()
            side.close()
        for number in (1, 2):
            tap.shows(f"^#{number} .*over after")
        assert tap.end().stderr.count("#") == 0
    events = read_events(path.read_text())
    said = {joined(events, "sent", 1), joined(events, "sent", 2)}
    assert said == {b"one", b"two\xff"}
    for number in (1, 2):
        assert joined(events, "sent", number) == joined(events, "received", number)
        told = ["connected", "resolved", "attempt", "connected", "ended", "ended"]
        assert of(events, number)[: len(told)] == told  # its "exit" may have come too late for the signal
        mine = [event for event in events if event["connection"] == number]
        assert [event["peer"] for event in mine if event["event"] == "connected"] == ["client", "server"]
        assert [event["direction"] for event in mine if event["event"] == "ended"] == ["sent", "received"]
    assert "listening" in of(events, 0)


def test_both_sides_of_tls(certs: CertSet, tmp_path: Path) -> None:
    """Each handshake says whose it is; what the client says in it is masked where it is a secret."""

    def secured(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        echo(conn)

    path, ca = tmp_path / "events", tmp_path / "ca.pem"
    options = ("--tap", "0", "--once", "--quiet", "--cacert", certs.ca, "--ca-out", ca, "--events", path)
    with serve(secured) as server, start(*options, f"localhost:{server.port}") as program:
        port = program.read_stderr_until("listening on 127.0.0.1:").rpartition(":")[2]
        port += program.read_stderr_until("\n").rpartition(":")[2] if not port.endswith("\n") else ""
        client = cfcat("--tls", "on", "--cacert", ca, f"localhost:{port.split()[0]}", stdin=b"PASS hunter2\n")
        assert client.status == 0, client.stderr
        assert finish(program).status == 0
    events = read_events(path.read_text())
    tls = {event["peer"]: event for event in events if event["event"] == "tls"}
    assert tls["client"]["server_name"] == "localhost"
    assert tls["server"]["verified"]
    assert joined(events, "sent") == b"PASS ****\n"
    assert next(event["how"] for event in events if event["event"] == "ended") == "close_notify"
    assert (events[-1]["event"], events[-1]["connection"], events[-1]["status"]) == ("exit", 0, 0)


def listening(program: Program) -> int:
    program.read_stderr_until('"listening"')
    said = program.read_stderr_until("]}\n")
    (address,) = [event["addresses"][0] for event in read_events(said) if event["event"] == "listening"]
    return int(address.rpartition(":")[2])


def test_standard_error_has_nothing_else(tmp_path: Path) -> None:
    """What is said of the tap, and of a connection that did not come about, is a note and an error."""
    with refusing() as dead:
        options = ("--tap", "0", "--once", "--events", "-", f"127.0.0.1:{dead}")
        with start(*options) as program:
            client = Side(socket.create_connection(("127.0.0.1", listening(program))))
            client.hear_all()
            client.close()
            result = finish(program)
    events = read_events(result.stderr)
    assert of(events, 0) == ["note", "listening", "exit"]
    assert of(events, 1) == ["connected", "resolved", "attempt", "error", "exit"]
    assert [event["status"] for event in events if event["event"] == "exit"] == [7, 7]
    assert result.status == 7


def test_nobody_can_listen_there() -> None:
    """That is the error of the run."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = cfcat("--tap", f"127.0.0.1:{taken.getsockname()[1]}", "--accept-tls", "off", "--events", "-", "h:1")
    error, end = read_events(result.stderr)
    assert (error["event"], error["connection"], end["status"], result.status) == ("error", 0, 7, 7)


@pytest.mark.parametrize("option", ["-v", "--json"])
def test_what_else_would_be_on_standard_error_is_refused(option: str) -> None:
    """By events; a hexdump is on standard output here, and goes with them."""
    error, _ = read_events(cfcat("--tap", "0", "--events", "-", option, "h:1").stderr)
    assert error["message"] == f"--events - excludes {option}: standard error has nothing else then"


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """And the connection goes on; the status is 23 where it would have been 0."""
    with serve(echo) as server, tapping(server.address, "--once", "--events", "/dev/full", folder=tmp_path) as tap:
        client = dial(tap)
        client.send(b"data")
        client.fin()
        assert client.hear() == b"data"
        client.hear_all()
        client.close()
        result = tap.end(by=None)
    assert "cannot write /dev/full: no space left on device" in result.stderr
    assert result.status == 23
