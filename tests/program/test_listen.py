"""`cfcat -l` in pipes and scripts: where it listens, who is let in, what is said, and how it ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.ways import injecting, shell_does
from tests.helpers.certs import CertSet
from tests.helpers.program import Argument, Program, Result, cfcat, finish, start

pytestmark = pytest.mark.one_python

LISTENING = re.compile(r"cfcat: listening on (\S+)\n")


@contextlib.contextmanager
def listening(
    *flags: Argument, where: tuple[str, ...] = ("0",), timeout_s: float = 20, **more: Any
) -> Iterator[tuple[Program, str]]:
    """`cfcat -l` on a free port, and its address as it says it."""
    with start("-l", *where, *flags, timeout_s=timeout_s, **more) as program:
        said = program.read_stderr_until("listening on ")
        while not (found := LISTENING.search(said)):
            said = program.read_stderr_until("\n")
        yield program, found[1]


def dial(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=10)


def received(client: socket.socket) -> bytes:
    data = b""
    while chunk := client.recv(65536):
        data += chunk
    return data


# ---------------------------------------------------------------------------------------------- where


def test_port_0_is_any_free_one_on_ipv4_loopback_and_its_line_is_said() -> None:
    """Scripts wait for that line; nothing else is said."""
    with listening() as (program, address):
        assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", address)
        with dial(address) as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            result = finish(program, b"answer")
            assert received(client) == b"answer"
    assert (result.stdout, result.status) == (b"hello", 0)
    assert LISTENING.sub("", result.stderr) == ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def connect_soon(address: tuple[str, int]) -> socket.socket:
    """As soon as somebody listens there."""
    end = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(address, timeout=10)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (("{port}",), ("127.0.0.1", "::1")),
        (("localhost", "{port}"), ("127.0.0.1",)),
        (("[::1]:{port}",), ("::1",)),
        (("::1", "{port}"), ("::1",)),
        (("*:{port}",), ("127.0.0.1", "::1")),
        (("*", "{port}"), ("127.0.0.1", "::1")),
        (("0.0.0.0:{port}",), ("127.0.0.1",)),
    ],
    ids=lambda value: " ".join(value),
)
def test_where_it_listens(words: tuple[str, ...], hosts: tuple[str, ...]) -> None:
    """A port alone is loopback, of both families; a second client is refused, by whichever family it comes."""
    port = free_port()
    for host in hosts:
        with start("-l", *(word.format(port=port) for word in words)) as program:
            with connect_soon((host, port)) as client:
                program.say(b"x")
                assert client.recv(1) == b"x"
                for other in hosts:
                    with pytest.raises(ConnectionRefusedError):
                        socket.create_connection((other, port), timeout=5)
            assert finish(program).status == 0


@pytest.mark.parametrize("where", ["*:0", "0.0.0.0:0"])
def test_other_addresses_than_loopback_are_warned_of(where: str) -> None:
    """In one line: anybody who reaches it can connect."""
    with start("-l", where, "-v") as program:
        said = program.read_stderr_until("can connect\n")
    assert "cfcat: warning: not only this machine: anybody who reaches it can connect\n" in said


def test_a_unix_socket_is_for_its_owner_and_goes_at_the_end(tmp_path: Path) -> None:
    """Also when a signal ends the run; a stale one is replaced."""
    path = tmp_path / "door"
    for end in ("client", "signal", "client"):
        with start("-l", f"unix:{path}", "-v") as program:
            program.read_stderr_until(f"listening on unix:{path}\n")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            if end == "signal":
                program.send_signal(signal.SIGKILL)
                program.wait(10)
                assert path.exists()
                continue
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(path))
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                result = finish(program, b"answer")
                assert received(client) == b"answer"
            assert (result.stdout, result.status) == (b"hello", 0)
            assert f"cfcat: accepted a client on unix:{path}\n" in result.stderr
        assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_takes_the_files_along(number: int, tmp_path: Path) -> None:
    """The Unix socket and the file with the authority; the process dies of the signal."""
    path = tmp_path / "door"
    with start("-l", f"unix:{path}", "--tls", "on", "-v") as program:
        said = program.read_stderr_until("listening on")
        ca = re.search(r"with (\S+) \(", said)
        assert ca is not None
        assert b"BEGIN CERTIFICATE" in Path(ca[1]).read_bytes()
        program.read_stderr_until("\n")
        program.send_signal(number)
        assert finish(program).status == -number
    assert not path.exists()
    assert not Path(ca[1]).exists()


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-l",), "-l: no port given"),
        (("-l", "localhost"), "-l: 'localhost' is not an address to listen on"),
        (("-l", "70000"), "-l: '70000' is not an address to listen on"),
        (("-l", "unix:"), "-l: 'unix:' is not an address to listen on"),
        (("-l", "unix:@"), "-l: 'unix:@' is not an address to listen on"),
        (("-l", "127.0.0.1:1", "2"), "two ports given: '127.0.0.1:1' and '2'"),
        (("-l", "1", "2", "3"), "more than a host and a port: '3'"),
        (("-l", "0", "-k", "--tls", "on"), "-l excludes -k"),
        (("-l", "0", "--cacert", "x", "--tls", "on"), "-l excludes --cacert; --client-ca FILE verifies clients"),
        (("-l", "0", "--workers"), "-l excludes --workers"),
        (("-l", "0", "--check-workers"), "-l excludes --check-workers"),
        (("-l", "0", "--export", "x"), "-l excludes --export"),
        (("-l", "0", "--helo", "x.example", "--starttls", "smtp"), "-l excludes --helo"),
        (("-l", "0", "--keep", "--json"), "--keep excludes --json"),
        (("-l", "0", "--client-ca", "x"), "--client-ca needs --tls on"),
        (("-l", "0", "--ca-out", "x"), "--ca-out needs --tls on"),
        (("-l", "0", "--tls", "on", "--key", "x"), "--key needs --cert"),
        (("localhost:1", "--keep"), "--keep needs -l"),
        (("localhost:1", "--tls", "on", "--client-ca", "x"), "--client-ca needs -l"),
        (("localhost:1", "--tls", "on", "--ca-out", "x"), "--ca-out needs -l"),
        (("localhost:1", "--tls", "on", "--sni", "a", "--sni", "b"), "--sni is given more than once"),
        (("-l", "0", "--starttls", "gopher"), "--starttls: 'gopher' is not known"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], words: str) -> None:
    """Status 2, before anything is listened on."""
    result = cfcat(*arguments)
    assert result.status == 2
    assert words in result.stderr


def test_an_address_in_use_is_7_and_named() -> None:
    """TCP and Unix alike."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        result = cfcat("-l", address)
    assert result.status == 7
    assert result.stderr == (
        f"cfcat: cannot listen on {address}: address already in use\n  hint: -l 0 listens on any free port\n"
    )


def test_a_path_that_is_a_file_is_7_and_left_alone(tmp_path: Path) -> None:
    """Nothing is removed that is no socket."""
    path = tmp_path / "file"
    path.write_text("mine")
    result = cfcat("-l", f"unix:{path}")
    assert (result.status, path.read_text()) == (7, "mine")
    assert "something is there that is no socket" in result.stderr


def test_no_right_to_a_low_port_is_7_with_a_hint() -> None:
    """As a user who is not root, or as root without that right."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 25:
        pytest.skip("every user has the right here")
    right = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    result = cfcat("-l", "127.0.0.1:25", by=right if os.geteuid() == 0 else [])
    assert result.status == 7
    assert "cannot listen on 127.0.0.1:25: permission denied" in result.stderr
    assert "hint: a port below 1024 needs the right to it" in result.stderr


def test_a_certificate_without_its_key_is_58(certs: CertSet) -> None:
    """As for dialed connections."""
    result = cfcat("-l", "0", "--tls", "on", "--cert", certs.ca)
    assert result.status == 58
    assert "no certificate with its key in PEM form" in result.stderr


def test_a_client_that_never_comes_is_28_where_there_is_a_deadline() -> None:
    """--connect-timeout counts for the wait only where it is given."""
    result = cfcat("-l", "0", "--connect-timeout", "0.3")
    assert result.status == 28
    assert re.search(r"cfcat: 127\.0\.0\.1:0: no client came within 0\.3 s\n", result.stderr)


# --------------------------------------------------------------------------------- ends and directions


def test_the_whole_answer_goes_to_a_client_that_ends_first() -> None:
    """Half-open is the default: what stdin still has to say is said."""
    with listening() as (program, address), dial(address) as client:
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        assert program.read_until(b"request") == b"request"
        program.say(b"first ")
        assert client.recv(100) == b"first "
        result = finish(program, b"second")
        assert received(client) == b"second"
    assert result.status == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_listener_with_nothing_to_say_receives_to_the_clients_end(tls: bool, certs: CertSet) -> None:
    """`cfcat -l >file </dev/null`: it does not end its side meanwhile, which many clients take for the end of all."""
    flags: list[Argument] = ["--tls", "on", "--cert", certs["good"].chain, "--key", certs["good"].key] if tls else []
    with listening(*flags) as (program, address), contextlib.ExitStack() as stack:
        program.end_input()
        client: socket.socket = stack.enter_context(dial(address))
        if tls:
            client = stack.enter_context(certs.client_context().wrap_socket(client, server_hostname="localhost"))
        for part in (b"one\n", b"two\n"):
            client.sendall(part)
            program.read_until(part)
            assert not select.select([client], [], [], 1.5)[0]  # neither the table's half second nor TLS's second
        (client.unwrap() if isinstance(client, ssl.SSLSocket) else client).shutdown(socket.SHUT_WR)
        result = finish(program)
    assert (result.stdout, result.status) == (b"one\ntwo\n", 0)


def test_no_half_open_ends_with_the_client() -> None:
    """As a connection that was dialed."""
    with listening("--no-half-open") as (program, address):
        with dial(address) as client:
            client.sendall(b"bye")
        program.wait(10)
        assert program.returncode == 0


def test_a_client_that_resets_is_56_behind_its_bytes() -> None:
    """Data before the error."""
    with listening() as (program, address):
        client = dial(address)
        client.sendall(b"last words")
        assert program.read_until(b"last words") == b"last words"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        result = finish(program)
    assert (result.stdout, result.status) == (b"last words", 56)
    assert "connection reset by peer while receiving" in result.stderr


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_both_directions_are_whole(tls: bool, certs: CertSet) -> None:
    """16 MiB each way at a time, by their checksums."""
    flags: list[Argument] = ["--tls", "on", "--cert", certs["good"].chain, "--key", certs["good"].key] if tls else []
    up, down = os.urandom(1 << 24), os.urandom(1 << 24)
    with listening(*flags) as (program, address), contextlib.ExitStack() as stack:
        client: socket.socket = stack.enter_context(dial(address))
        if tls:
            client = stack.enter_context(certs.client_context().wrap_socket(client, server_hostname="localhost"))
        sending = threading.Thread(target=client.sendall, args=(up,))
        sending.start()
        results: list[Result] = []
        running = threading.Thread(target=lambda: results.append(finish(program, down)))
        running.start()
        data = b""
        while len(data) < len(down):
            data += client.recv(1 << 20)
        sending.join()
        if tls:
            assert isinstance(client, ssl.SSLSocket)
            with contextlib.suppress(ssl.SSLError, OSError):
                client.unwrap()
        client.close()
        running.join()
    assert digest(data) == digest(down)
    assert digest(results[0].stdout) == digest(up)
    assert results[0].status == 0


def test_keep_takes_one_client_after_the_other_until_a_signal() -> None:
    """stdin goes to the first; later ones see our end at once; one that breaks is said, and not the end."""
    with listening("--keep") as (program, address):
        program.say(b"for the first")
        program.end_input()
        with dial(address) as first:
            first.sendall(b"1")
            assert received(first) == b"for the first"
        broken = dial(address)
        broken.sendall(b"2")
        assert program.read_until(b"2")[-1:] == b"2"
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        broken.close()
        program.read_stderr_until("connection reset by peer")
        clients = [dial(address) for _ in range(5)]  # four wait in the backlog
        for number, client in enumerate(clients):
            client.sendall(b"%d" % (3 + number))
            client.shutdown(socket.SHUT_WR)
            assert received(client) == b""
            client.close()
        program.send_signal(signal.SIGTERM)
        result = finish(program)
    assert (result.stdout, result.status) == (b"1234567", -signal.SIGTERM)


@pytest.mark.parametrize("clients", [0, 1], ids=["before the first client", "between two"])
def test_a_reader_that_goes_while_nobody_is_there_ends_it(clients: int) -> None:
    """By SIGPIPE, as in any pipe: what the next client says nobody would read."""
    reading, writing = os.pipe()
    with listening("--keep", stdout=writing) as (program, address):
        os.close(writing)
        for _ in range(clients):
            with dial(address) as client:
                client.sendall(b"hello")
                assert os.read(reading, 100) == b"hello"
                program.end_input()
                client.shutdown(socket.SHUT_WR)
                assert received(client) == b""
        os.close(reading)
        assert finish(program).status == -signal.SIGPIPE


# ----------------------------------------------------------------------------------------- TLS, STARTTLS


def test_a_certificate_is_made_for_the_run_and_told(tmp_path: Path) -> None:
    """For localhost and each --sni; its authority is in a file, which goes at the end."""
    with start("-l", "0", "--no-half-open", "--tls", "on", "--sni", "mail.example.", "--sni", "10.1.2.3") as program:
        said = program.read_stderr_until("listening on")
        said += program.read_stderr_until("\n")
        found, address = re.search(r"with (\S+) \(", said), LISTENING.search(said)
        assert found is not None
        assert address is not None
        ca = Path(found[1])
        assert stat.S_IMODE(ca.stat().st_mode) == 0o600
        context = ssl.create_default_context(cafile=ca)
        with dial(address[1]) as plain, context.wrap_socket(plain, server_hostname="mail.example") as client:
            names = str(client.getpeercert())
            client.sendall(b"hello")
            assert program.read_until(b"hello") == b"hello"
            client.unwrap()
        assert finish(program).status == 0
    for name in ("mail.example", "10.1.2.3", "localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"):
        assert f"'{name}'" in names
    assert not ca.exists()


def test_ca_out_keeps_the_authority(tmp_path: Path) -> None:
    """And a file that cannot be written is 23."""
    ca = tmp_path / "ca.pem"
    with listening("--no-half-open", "--tls", "on", "--ca-out", ca) as (program, address):
        context = ssl.create_default_context(cafile=ca)
        with dial(address) as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
            client.unwrap()
        assert finish(program).status == 0
    assert ca.exists()
    assert cfcat("-l", "0", "--tls", "on", "--ca-out", tmp_path / "no" / "ca.pem").status == 23


def test_a_path_is_told_when_the_authority_is_there_and_escaped(tmp_path: Path) -> None:
    """A folder's name may hold anything."""
    folder = tmp_path / "a\x1b[2Jb"
    folder.mkdir()
    with start("-l", "0", "--tls", "on", env={"TMPDIR": str(folder)}) as program:
        said = program.read_stderr_until("--cacert)\n")
        assert r"/a\x1b[2Jb/cfcat-ca-" in said
        assert b"BEGIN CERTIFICATE" in next(folder.iterdir()).read_bytes()
        program.terminate()
        program.wait(10)
    assert list(folder.iterdir()) == []


def test_no_folder_for_temporary_files_is_23() -> None:
    """In one line, with the way round it; no path is told."""
    result = cfcat("-l", "0", "--tls", "on", by=shell_does('ulimit -f 0; exec "$@"'))
    assert result.status == 23
    text = "cfcat: cannot write a temporary file for --ca-out: no usable temporary directory found in ["
    assert result.stderr.startswith(text)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["a_b.example", "fe80::1%lo", "me@mail.example"])
def test_a_name_that_no_certificate_can_have_is_refused(name: str, certs: CertSet) -> None:
    """Nobody would be let in by it; with a certificate that is given it does not matter."""
    result = cfcat("-l", "0", "--tls", "on", "--sni", name)
    assert result.status == 2
    assert f"--sni {name}: no certificate can have this name" in result.stderr
    own: list[Argument] = ["--cert", certs["good"].chain, "--key", certs["good"].key]
    with listening("--tls", "on", "--sni", name, *own):
        pass


def tls_run(certs: CertSet, *flags: Argument, client: ssl.SSLContext | None = None, said: bytes = b"") -> Result:
    """A run under TLS with one client: by a context, or one that says this in clear text and ends."""
    own: list[Argument] = ["--tls", "on", "--cert", certs["good"].chain, "--key", certs["good"].key]
    with listening(*own, *flags) as (program, address), dial(address) as plain:
        if client is None:
            plain.sendall(said)
            plain.shutdown(socket.SHUT_WR)
        else:
            with contextlib.suppress(ssl.SSLError, OSError):
                with client.wrap_socket(plain, server_hostname="localhost") as secure:
                    secure.recv(1)
        return finish(program)


@pytest.mark.parametrize(
    ("said", "words"),
    [(b"EHLO me\r\n", 'peer does not speak TLS; it said "EHLO me"'), (b"", "closed the connection during the TLS")],
)
def test_a_client_in_clear_text_under_tls_is_35(certs: CertSet, said: bytes, words: str) -> None:
    """It is quoted; without a word it just left."""
    result = tls_run(certs, said=said)
    assert result.status == 35
    assert words in result.stderr


def test_a_client_that_does_not_trust_us_is_35_in_words(certs: CertSet) -> None:
    """Its alert."""
    result = tls_run(certs, client=ssl.create_default_context())
    assert result.status == 35
    assert "the client does not trust our certificate (alert unknown ca)" in result.stderr


def test_a_client_without_a_certificate_of_client_ca_is_60(certs: CertSet) -> None:
    """Missing, or of another authority; with the right one it is let in."""
    context = certs.client_context()
    result = tls_run(certs, "--client-ca", certs.ca, client=context)
    assert result.status == 60
    assert "the client sent no certificate" in result.stderr
    context.load_cert_chain(certs["untrusted"].chain, certs["untrusted"].key)
    assert tls_run(certs, "--client-ca", certs.ca, client=context).status == 60


def test_a_client_that_ends_without_close_notify_is_18(certs: CertSet) -> None:
    """Truncation is an error here, too; --ignore-unexpected-eof accepts it."""
    for flags, status in (((), 18), (("--ignore-unexpected-eof",), 0)):
        own: list[Argument] = ["--tls", "on", "--cert", certs["good"].chain, "--key", certs["good"].key]
        with listening(*own, *flags) as (program, address), dial(address) as plain:
            with certs.client_context().wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"part")
                assert program.read_until(b"part") == b"part"
                client.shutdown(socket.SHUT_RDWR)
            result = finish(program)
        assert (result.stdout, result.status) == (b"part", status)


def test_a_silent_client_under_tls_is_28(certs: CertSet) -> None:
    """The deadline of the handshake."""
    own: list[Argument] = ["--tls", "on", "--cert", certs["good"].chain, "--key", certs["good"].key]
    with listening(*own, "--connect-timeout", "0.5") as (program, address), dial(address):
        assert finish(program).status == 28


@pytest.mark.parametrize("mode", ["--pipe", "--repl"])
def test_a_client_that_speaks_tls_to_clear_text_is_told_of(mode: str) -> None:
    """Its bytes are passed on all the same."""
    hello = b"\x16\x03\x01\0\x05hello"
    with listening(mode) as (program, address), dial(address) as client:
        client.sendall(hello[:1])
        assert program.read_until(hello[:1]) == hello[:1]
        client.sendall(hello[1:])
        client.shutdown(socket.SHUT_WR)
        result = finish(program)
    assert (result.stdout, result.status) == (hello, 0)
    assert "note: the client speaks TLS: -l --tls on accepts it" in result.stderr


def test_starttls_plays_the_servers_half_then_stdin_speaks(certs: CertSet) -> None:
    """What is said before TLS is not on stdout; -v shows the dialog."""
    own: list[Argument] = ["--starttls", "smtp", "--cert", certs["good"].chain, "--key", certs["good"].key, "-v"]
    with listening(*own, "--no-half-open") as (program, address), dial(address) as plain:
        replies = plain.makefile("rb")
        assert replies.readline().startswith(b"220 ")
        plain.sendall(b"EHLO me\r\n")
        assert [replies.readline()[:4] for _ in range(3)] == [b"250-", b"250-", b"250 "]
        plain.sendall(b"STARTTLS\r\n")
        assert replies.readline().startswith(b"220 ")
        with certs.client_context().wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"EHLO me again\r\n")
            assert program.read_until(b"again\r\n") == b"EHLO me again\r\n"
            program.say(b"250 at your service\r\n")
            assert client.recv(100) == b"250 at your service\r\n"
            client.unwrap()
        result = finish(program)
    assert result.status == 0
    assert "plain text < EHLO me" in result.stderr
    assert "plain text > 220 2.0.0 Ready to start TLS" in result.stderr
    assert "TLSv1.3" in result.stderr
    assert "  server name: localhost\n" in result.stderr
    assert "  certificate: none\n" in result.stderr


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (b"EHLO me\r\nSTARTTLS\r\nMAIL FROM:<evil>\r\n", 8, "plain text after the client's request for TLS"),
        (b"QUIT\r\n", 64, "the client left without asking for TLS (QUIT)"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 64, "the client seems to speak TLS from the first byte"),
        (b"", 64, "the client closed the connection before its request for TLS"),
        (b"\xff\xff\r\n", 64, "the client's request for TLS is not SMTP"),
    ],
)
def test_starttls_refuses_what_is_no_upgrade(said: bytes, status: int, words: str) -> None:
    """Injection is 8, the rest 64; who leaves in order hears the answer."""
    with listening("--starttls", "smtp") as (program, address), dial(address) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        result = finish(program, b"never said")
        with contextlib.suppress(ConnectionResetError):
            answer = received(client)
            assert b"never said" not in answer
            assert (b"221 2.0.0 Bye\r\n" in answer) is (said == b"QUIT\r\n")
    assert (result.stdout, result.status) == (b"", status)
    assert words in result.stderr


# -------------------------------------------------------------------------------------------- what is told


def test_json_has_both_ends_and_the_port_is_said_for_scripts() -> None:
    """`-l 0 --json`: the line with the port comes at once, the object at the end."""
    with listening("--json") as (program, address), dial(address) as client:
        client.sendall(b"12345")
        client.shutdown(socket.SHUT_WR)
        remote = client.getsockname()
        result = finish(program, b"67")
        assert received(client) == b"67"
    report = json.loads(result.stderr.splitlines()[-1])
    assert report["remote_address"] == f"127.0.0.1:{remote[1]}"
    assert report["local_address"] == address
    assert report["bytes"] == {"sent": 2, "received": 5}
    assert (report["status"], report["phase"], report["end"]) == (0, "done", report["end"])


def test_verbose_and_hexdump_tell_of_an_accepted_connection() -> None:
    """`accepted`, the bytes, and the ends."""
    with listening("-v", "-x") as (program, address), dial(address) as client:
        client.sendall(b"ABC")
        client.shutdown(socket.SHUT_WR)
        result = finish(program)
    assert re.search(rf"cfcat: accepted 127\.0\.0\.1:\d+ on {address}\n", result.stderr)
    assert "41 42 43" in result.stderr
    assert "peer ended: 3 bytes received" in result.stderr


def test_a_transcript_masks_what_the_client_says_in_secret(tmp_path: Path) -> None:
    """It is the client who logs in; an export of it is refused, because that would dial."""
    log = tmp_path / "log"
    with listening("--log", log) as (program, address), dial(address) as client:
        client.sendall(b"AUTH PLAIN c2VjcmV0\r\n")
        assert program.read_until(b"\n").endswith(b"\n")
        program.say(b"334 UGFzc3dvcmQ6\r\n")
        assert client.recv(100)
        client.sendall(b"aHVudGVyMg==\r\n")
        client.shutdown(socket.SHUT_WR)
        assert finish(program).status == 0
    text = log.read_text()
    assert "listening on" in text
    assert "accepted 127.0.0.1:" in text
    assert "c2VjcmV0" not in text
    assert "aHVudGVyMg" not in text
    assert "< - AUTH PLAIN ****" in text
    result = cfcat("--from", log, "--export", tmp_path / "worker.js")
    assert result.status == 2
    assert "the connection was accepted, and an export dials" in result.stderr


def refusing_to_accept(times: str) -> list[str]:
    return injecting(f"accept4:error=EMFILE:when={times}")


def test_a_client_that_cannot_be_accepted_is_7() -> None:
    """Without descriptors nobody will ever be accepted: that ends it, with the reason."""
    with listening(by=refusing_to_accept("1+")) as (program, address):
        with contextlib.suppress(ConnectionResetError, ConnectionRefusedError):  # that fast
            dial(address).close()
        result = finish(program)
    assert result.status == 7
    assert LISTENING.sub("", result.stderr) == (
        "cfcat: cannot accept a connection: too many open files\n  hint: ulimit -n allows more\n"
    )


def test_keep_waits_until_a_client_can_be_accepted_and_says_so_once() -> None:
    """Somebody may give descriptors back; nobody has to read the same line four times a second."""
    with listening("--keep", by=refusing_to_accept("1..3")) as (program, address), dial(address) as client:
        client.sendall(b"hello")
        assert program.read_until(b"hello") == b"hello"
        program.kill_group()  # strace keeps signals to itself
        result = finish(program)
    text = "cfcat: warning: cannot accept a connection: too many open files; the client has to wait\n"
    assert LISTENING.sub("", result.stderr) == text


def test_a_script_accepts(tmp_path: Path) -> None:
    """`--repl` with lines on stdin: `:expect` and answers, `:open` waits for the next client."""
    with listening("--repl", "--eol", "lf", "--keep") as (program, address):
        with dial(address) as first:
            first.sendall(b"EHLO me\n")
            program.say(b":expect EHLO\n250 hello\n")
            assert first.recv(100) == b"250 hello\n"
        program.say(b":open\n")
        with dial(address) as second:
            program.say(b"220 second\n")
            assert second.recv(100) == b"220 second\n"
            second.shutdown(socket.SHUT_WR)
            result = finish(program, b":close\n:quit\n")
    assert result.status == 0
    assert b"EHLO me\n" in result.stdout


def test_thousands_of_clients_in_the_backlog_are_taken_one_by_one() -> None:
    """As many as the kernel keeps; each is served."""
    with listening("--keep", timeout_s=60) as (program, address):
        program.end_input()
        for start_at in range(0, 2000, 100):
            clients = [dial(address) for _ in range(100)]
            for number, client in enumerate(clients):
                client.sendall(b"%04d" % (start_at + number))
                client.shutdown(socket.SHUT_WR)
            for client in clients:
                assert received(client) == b""
                client.close()
        program.send_signal(signal.SIGTERM)
        result = finish(program)
    assert result.stdout == b"".join(b"%04d" % number for number in range(2000))
