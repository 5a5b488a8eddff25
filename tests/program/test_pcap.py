"""`--pcap` and `:pcap`, read by tshark: what it dissects and decrypts, of every kind of run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.installed import demand
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Argument, cfcat, finish, shell, start
from tests.helpers.terminal import terminal
from tests.program.test_listen import listening, received
from tests.servers.dialogs import DIALOGS
from tests.servers.fleet import Fleet, Name
from tests.tap.sides import Side
from tests.tap.tapping import run_client, tapping

pytestmark = pytest.mark.one_python

NOTE = re.compile(r"cfcat: note: whoever can read (\S+) can read all that is captured, passwords too\n")


def tshark(file: Path, *flags: str) -> str:
    """What tshark says of a capture; it must have nothing to complain about."""
    demand("tshark")
    command: list[Argument] = [
        "tshark",
        "-r",
        file,
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        *flags,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return str(done.stdout)


def check_sound(file: Path) -> None:
    """No malformed packet, no bad checksum, no gap in the numbers."""
    bad = "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0 || tcp.analysis.lost_segment"
    assert tshark(file, "-Y", f"{bad} || tcp.analysis.retransmission || tcp.analysis.out_of_order") == ""


def follow(file: Path, how: str = "tls", stream: int = 0) -> str:
    """The conversation as tshark reads it."""
    return tshark(file, "-q", "-z", f"follow,{how},ascii,{stream}")


def flags(file: Path, wanted: str) -> list[str]:
    """Who has sent packets with this flag, in order: their ports."""
    return tshark(file, "-Y", f"tcp.flags.{wanted}==1", "-T", "fields", "-e", "tcp.srcport").split()


@pytest.mark.parametrize(("name", "version"), [("smtp", "1.2"), ("smtp", "1.3"), ("postgres", "1.3"), ("mysql", "1.2")])
def test_a_dialog_and_what_is_said_under_tls_are_decrypted(
    daemon: Fleet, certs: CertSet, tmp_path: Path, name: Name, version: str
) -> None:
    """STARTTLS in clear text, the handshake, and the application's bytes, of each version of TLS."""
    server, dialog, file = daemon(name), DIALOGS[name], tmp_path / "c.pcapng"
    command: list[Argument] = ["--starttls", name, "--cacert", certs.ca, "--tls-min", version, "--tls-max", version]
    result = cfcat(
        *command, "-q", "1", "--pcap", file, f"localhost:{server.port}", stdin=dialog.ask_upgraded or dialog.ask
    )
    assert result.status in (0, 18), result.stderr
    assert NOTE.search(result.stderr)
    check_sound(file)
    keys = "tls.handshake.type == 1"
    assert tshark(file, "-Y", keys, "-T", "fields", "-e", "tls.handshake.type").split()[0] == "1"
    shown = follow(file)
    for line in (dialog.ask_upgraded or dialog.ask).split(b"\n"):
        text = re.sub(rb"[^ -~]", b".", line.rstrip(b"\r"))
        assert text.decode() in shown


def test_http_under_tls_is_decrypted(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """nginx, from the first byte; a file of 10 MiB keeps its numbers."""
    server, file = daemon("http"), tmp_path / "c.pcapng"
    get = b"GET /10M.bin HTTP/1.0\r\n\r\n"
    result = cfcat("--tls", "on", "--cacert", certs.ca, "--pcap", file, f"localhost:{server.tls_port}", stdin=get)
    assert result.status == 0
    check_sound(file)
    assert "GET /10M.bin HTTP/1.0" in follow(file)
    assert tshark(file, "-Y", 'http.request.uri == "/10M.bin"') != ""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_clear_text_has_real_addresses_and_both_ends(tmp_path: Path, host: str) -> None:
    """IPv4 and IPv6; who ends first is seen."""
    file = tmp_path / "c.pcapng"

    def answer(conn: Peer) -> None:
        conn.send(conn.recv_until(b"\n"))
        conn.end()

    with serve(answer, host=host) as server:
        result = cfcat("--pcap", file, server.address, stdin=b"hello\n")
    assert (result.stdout, result.status) == (b"hello\n", 0)
    check_sound(file)
    assert "hello" in follow(file, "tcp")
    address = "ipv6.addr == ::1" if host == "::1" else "ip.addr == 127.0.0.1"
    assert len(tshark(file, "-Y", f"{address} && tcp.port == {server.port}").splitlines()) >= 9
    assert flags(file, "fin")[0] == str(server.port)
    assert flags(file, "reset") == []


def test_a_reset_and_a_truncation_are_seen(certs: CertSet, tmp_path: Path) -> None:
    """By the server, each."""
    file, other = tmp_path / "reset.pcapng", tmp_path / "cut.pcapng"

    def reset(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.reset()

    with serve(reset) as server:
        assert cfcat("--pcap", file, server.address, stdin=b"hello\n").status == 56
    check_sound(file)
    assert flags(file, "reset") == [str(server.port)]

    def cut(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(conn.recv_until(b"\n"))
        conn.end()  # without close_notify

    with serve(cut) as server:
        flags_: list[Argument] = ["--tls", "on", "--cacert", certs.ca, "--pcap", other]
        assert cfcat(*flags_, f"localhost:{server.port}", stdin=b"hello\n").status == 18
    check_sound(other)
    assert "hello" in follow(other)
    assert str(server.port) in flags(other, "fin")


def test_an_accepted_connection_begins_with_its_client(certs: CertSet, tmp_path: Path) -> None:
    """`-l --tls on`: our keys, as the server."""
    file = tmp_path / "c.pcapng"
    own: list[Argument] = ["--tls", "on", "--cert", certs["good"].chain, "--key", certs["good"].key]
    with listening(*own, "--pcap", file) as (program, address):
        port = address.rpartition(":")[2]
        dialing = threading.Thread(
            target=lambda: cfcat("--tls", "on", "--cacert", certs.ca, f"localhost:{port}", stdin=b"question\n")
        )
        dialing.start()
        program.read_until(b"question\n")
        finish(program, b"answer\n")
        dialing.join()
    check_sound(file)
    assert flags(file, "syn")[0] != port
    assert "question" in follow(file)
    assert "answer" in follow(file)


def test_a_unix_socket_has_a_comment(tmp_path: Path) -> None:
    """Its addresses are made up."""
    file = tmp_path / "c.pcapng"
    with listening("-v", "--pcap", file, where=(f"unix:{tmp_path}/door",)) as (program, address):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address.removeprefix("unix:"))
            client.sendall(b"hello")
            client.shutdown(1)
            finish(program, b"answer")
            assert received(client) == b"answer"
    check_sound(file)
    assert "made up" in tshark(file, "-T", "fields", "-e", "frame.comment")


def test_the_tap_has_both_legs(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """Two streams, both decrypted, from a mail of swaks to exim."""
    server, file = daemon("smtp"), tmp_path / "c.pcapng"
    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, "--pcap", file, folder=tmp_path) as tap:
        mail = ["--to", "you@localhost", "--from", "me@me.example", "--body", "captured", "--tls"]
        status, output = run_client(["swaks", "--server", tap.address, *mail])
        assert status == 0, output.decode()
        tap.shows("over after")
        tap.end()
    check_sound(file)
    for stream in (0, 1):
        assert "MAIL FROM:<me@me.example>" in follow(file, "tls", stream)
        assert "captured" in follow(file, "tls", stream)


def test_a_script_and_a_session_capture(certs: CertSet, tmp_path: Path) -> None:
    """A script by --pcap; a session by `:pcap`, from the next connection on, until `:pcap off`."""
    file, other = tmp_path / "script.pcapng", tmp_path / "session.pcapng"

    def echo(conn: Peer) -> None:
        while data := conn.recv():
            conn.send(data)

    with serve(echo) as server:
        result = cfcat("--repl", "--pcap", file, server.address, stdin=b"hello\n:expect hello\n")
        assert result.status == 0, result.stderr
        with terminal(server.address) as term:
            term.expect_screen(">")
            term.type(f":pcap {other}\r")
            term.expect_screen("the next one is")
            term.type(":open\r")
            term.expect_screen("connected")
            term.type("within\r")
            term.type(":pcap off\r:quit\r")
            term.finish()
    assert "hello" in follow(file, "tcp")
    assert "within" in follow(other, "tcp")
    check_sound(file)
    check_sound(other)


def test_a_proxy_is_the_other_end(tmp_path: Path) -> None:
    """Its dialog is in the capture."""
    file = tmp_path / "c.pcapng"

    def socks(conn: Peer) -> None:
        assert conn.recv_exactly(3) == b"\x05\x01\x00"
        conn.send(b"\x05\x00")
        conn.recv_exactly(4 + 1 + len("mail.example") + 2)
        conn.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x19220 ready\r\n")
        conn.end()

    with serve(socks) as server:
        result = cfcat("--pcap", file, "--proxy", f"socks5h://{server.address}", "mail.example:25", stdin=b"")
    assert result.stdout == b"220 ready\r\n"
    check_sound(file)
    assert "mail.example" in follow(file, "tcp")


# ----------------------------------------------------------------------------------------------- the file


@contextlib.contextmanager
def said_once() -> Iterator[str]:
    def greet(conn: Peer) -> None:
        conn.send(b"hello\n")

    with serve(greet) as server:
        yield server.address


def test_the_file_is_the_owners_and_replaced(tmp_path: Path) -> None:
    """0600, and what was in it is gone; a file that others may write to is not taken (23)."""
    file = tmp_path / "c.pcapng"
    file.write_bytes(b"x" * 100_000)
    file.chmod(0o644)
    with said_once() as address:
        assert cfcat("--pcap", file, address).status == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    check_sound(file)
    file.chmod(0o666)
    result = cfcat("--pcap", file, "localhost:1")
    assert (result.status, result.stderr) == (23, f"cfcat: cannot write {file}: others may write to it\n")
    assert cfcat("--pcap", tmp_path / "missing" / "c", "localhost:1").status == 23


def test_a_full_disk_ends_the_capture_and_not_the_run() -> None:
    """A file that takes nothing at all is refused; one that is full later ends by itself, which is told."""
    assert cfcat("--pcap", "/dev/full", "localhost:1").status == 23


def test_packets_come_through_a_pipe_as_they_happen(tmp_path: Path) -> None:
    """A program that shows them at once, such as Wireshark, is in a process substitution."""
    demand("tshark")
    with said_once() as address:
        command = f"cfcat --pcap >(tshark -l -i - > {tmp_path}/seen 2>/dev/null) {address}; wait $!"
        result = shell(command, timeout_s=30)
    assert result.stdout == b"hello\n"
    assert "[PSH, ACK]" in (tmp_path / "seen").read_text()


def test_a_reader_that_leaves_ends_the_capture_and_not_the_run(tmp_path: Path) -> None:
    """All the data is there, and a line says that the capture is not whole."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    go_on = threading.Event()

    def much(conn: Peer) -> None:
        conn.wait(go_on)
        for _ in range(64):
            conn.send(b"x" * 65536)

    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with serve(much) as server, start("--pcap", fifo, server.address) as program:
        program.read_stderr_until("note: ")
        os.close(reading)
        go_on.set()
        result = finish(program)
    assert (len(result.stdout), result.status) == (64 * 65536, 0)
    assert "cfcat: warning: the capture is not complete: broken pipe\n" in result.stderr


@pytest.mark.parametrize("where", ["/dev/null", "fifo", "file"])
def test_a_key_log_of_any_kind_leaves_the_capture_its_keys(where: str, certs: CertSet, tmp_path: Path) -> None:
    """SSLKEYLOGFILE gets them too, be it one that cannot be read again."""
    file, keys = tmp_path / "c.pcapng", tmp_path / where
    reading = None
    if where == "fifo":
        os.mkfifo(keys)
        reading = os.open(keys, os.O_RDONLY | os.O_NONBLOCK)

    def greet(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"under TLS\n")

    flags_: list[Argument] = ["--tls", "on", "--cacert", certs.ca, "--pcap", file]
    with serve(greet) as server:
        result = cfcat(*flags_, f"localhost:{server.port}", env={"SSLKEYLOGFILE": str(keys)})
    assert (result.stdout, result.status) == (b"under TLS\n", 0), result.stderr
    assert "under TLS" in follow(file)
    check_sound(file)
    if where == "file":
        assert b"CLIENT_TRAFFIC_SECRET_0 " in keys.read_bytes()
    if reading is not None:
        assert b"CLIENT_TRAFFIC_SECRET_0 " in os.read(reading, 1 << 16)
        os.close(reading)


@pytest.mark.parametrize("near", ["client", "server"])
def test_a_reset_that_nobody_reads_is_the_peers(near: str, tmp_path: Path) -> None:
    """The tap learns of it from the kernel, in no read or write; what had come before it stands before it."""
    file, seen = tmp_path / "c.pcapng", threading.Event()

    def reset(conn: Peer) -> None:
        conn.send(b"last words\n")
        if near == "server":
            conn.wait(seen)
            conn.reset()
        else:
            conn.recv_until_eof()

    with serve(reset) as server, tapping(server.address, "--pcap", file, "--once", folder=tmp_path) as tap:
        client = Side(socket.create_connection(("127.0.0.1", tap.port)))
        assert client.hear_bytes(11) == b"last words\n"
        seen.set()
        if near == "server":
            assert client.hear_all() == (b"", ["reset"])
        else:
            client.reset()
        client.close()
        tap.end(by=None)
        ours, theirs = str(tap.port), str(server.port)
    check_sound(file)
    found = flags(file, "reset")
    assert len(found) == 2
    assert (found[0] == theirs) is (near == "server")
    assert (found[1] == ours) is (near == "server")
    assert flags(file, "fin") == []


def test_a_hello_is_in_the_capture_before_its_answer_comes(certs: CertSet, tmp_path: Path) -> None:
    """A server that hangs in the handshake: whoever watches sees what was sent, and has it after Ctrl-C."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)

    def hang(conn: Peer) -> None:
        conn.recv_until_eof()

    flags_: list[Argument] = ["--tls", "on", "--cacert", certs.ca, "--pcap", fifo]
    with serve(hang) as server, start(*flags_, f"localhost:{server.port}") as program:
        program.read_stderr_until("note: ")
        seen = b""
        while b"\x16\x03\x01" not in seen:
            seen += (more := os.read(reading, 1 << 16))
            assert more
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == -signal.SIGINT
    os.close(reading)
