"""Every example of the README and the manual, run as it stands there, and its output compared.

Only names are replaced: `mail.example:587` by an exim on loopback, and so on. In the outputs `…` on a line of its own
stands for any lines, and within a line for any characters. `tests/documents/examples.py` finds the examples.
"""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.documents.examples import EXAMPLES, Example
from tests.helpers.certs import CertSet
from tests.helpers.installed import demand
from tests.helpers.peers import Peer, Server, serve
from tests.helpers.program import Result, cfcat, environment, finish, shell, start
from tests.helpers.terminal import terminal
from tests.servers.fleet import Fleet, Name
from tests.servers.launcher import Variant, launched
from tests.servers.mail import PASSWORD
from tests.servers.proxies import microsocks

# Between the outputs of two commands of a block.
MARK = "-- next --"
# They install: tests/test_wheel.py and the release checklist.
ELSEWHERE = ("python3 -m venv", "pip install", "python3 -m pip install")
SESSION = "cfcat --tls starttls mail.example:587\n"


def chosen(language: str, mark: str = "") -> list[Example]:
    return [example for example in ALL if example.language == language and mark in example.text]


def without_comments(text: str) -> str:
    return re.sub(r" +# .*", "", text)


def unique() -> list[Example]:
    """What stands in several documents is run once, whatever the comments beside it."""
    found: dict[tuple[str, str], Example] = {}
    for example in EXAMPLES:
        found.setdefault((example.language, without_comments(example.text)), example)
    return list(found.values())


ALL = unique()
SESSIONS = chosen("console", SESSION)
CONSOLES = [block for block in chosen("console") if block not in SESSIONS]
LISTENERS = [block for block in chosen("sh") if block.text.startswith("cfcat -l ")]
REPLAYS = chosen("sh", "--replay ")
TAPS = [block for block in chosen("sh") if block.text.startswith("cfcat --tap ") and block not in REPLAYS]
TAKEN = (*LISTENERS, *TAPS, *REPLAYS)
SCRIPTS = [block for block in chosen("sh") if block not in TAKEN and not block.text.startswith(ELSEWHERE)]
SERVERS = chosen("python", "serve(")
MOCKS = chosen("python", "replay(")
TESTS = chosen("python", "listen(")
PROGRAMS = [block for block in chosen("python") if block not in (*SERVERS, *MOCKS, *TESTS)]


def name_of(block: Example) -> str:
    return " ".join(block.text.split()[:6])


def lines_of(blocks: list[Example]) -> list[str]:
    lines = (line for block in blocks for line in without_comments(block.text).splitlines())
    return list(dict.fromkeys(lines))


# ------------------------------------------------------------------------------------------- the servers


def floodgap(conn: Peer) -> None:
    """The first lines of the real one's menu."""
    assert conn.recv_until(b"\n") == b"\r\n"
    conn.send(b"iWelcome to Floodgap Systems' official gopher server.\t\terror.host\t1\r\ni \t\terror.host\t1\r\n.\r\n")


def collector(conn: Peer) -> None:
    """Ends first, and receives all the same."""
    conn.end()


class World:
    """The servers that the examples talk to, each started when its name is replaced for the first time."""

    def __init__(self, certs: CertSet, daemon: Fleet, stack: ExitStack) -> None:
        self.servers: dict[str, Server] = {}
        self._certs = certs
        self._daemon = daemon
        self._stack = stack
        self._ports: dict[str, int] = {}

    def localize(self, text: str) -> str:
        """The text with our own servers in it."""
        for name in re.findall(r"\b[a-z.]*[a-z]\.(?:example|com):\d+", text):
            text = text.replace(name, f"localhost:{self._port(name)}")
        return text.replace("mail.example", "localhost")

    def globalize(self, text: str) -> str:
        """The other way round, for outputs; without carriage returns."""
        for name, port in self._ports.items():
            text = text.replace(f"localhost:{port}", name)
            text = text.replace(f"127.0.0.1:{port}", f"192.0.2.7:{name.rpartition(':')[2]}")
        return text.replace("localhost", "mail.example").replace("\r", "")

    def _port(self, name: str) -> int:
        if name not in self._ports:
            self._ports[name] = self._start(name)
        return self._ports[name]

    def _start(self, name: str) -> int:
        daemons: dict[str, Name] = {
            "mail.example:25": "smtp",
            "mail.example:587": "smtp",
            "mail.example:465": "smtp",
            "mail.example:143": "imap",
            "redis.example:6379": "redis",
            "db.example:5432": "postgres",
        }
        if name == "gate.example:1080":
            return self._stack.enter_context(launched(microsocks, self._certs, Variant(host="127.0.0.1"))).port
        if name in daemons:
            running = self._daemon(daemons[name])
            return running.tls_port if name.endswith(":465") else running.port
        if name == "redis.example:6380":
            return self._daemon("redis").tls_port
        if name == "example.com:443":
            return self._daemon("http").tls_port
        scripts = {
            "gopher.floodgap.com:70": floodgap,
            "collector.example:5140": collector,
            "imap.example:993": self._imap,
        }
        self.servers[name] = self._stack.enter_context(serve(scripts[name], timeout_s=20))
        return self.servers[name].port

    def _imap(self, conn: Peer) -> None:
        """A server such as dovecot, which now and then ignores what comes right behind a handshake."""
        conn.start_tls(self._certs.server_context())
        conn.send(b"* OK ready\r\n")
        assert conn.recv_until(b"\n") == b"a CAPABILITY\r\n"
        conn.send(b"* CAPABILITY IMAP4rev1 IDLE\r\na OK done\r\n")
        assert conn.recv_until(b"\n") == b"b LOGOUT\r\n"
        conn.send(b"* BYE now\r\nb OK done\r\n")


@pytest.fixture
def world(certs: CertSet, daemon: Fleet) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(certs, daemon, stack)


def run(script: str, world: World, certs: CertSet, folder: Path) -> Result:
    """In bash, in an empty folder, trusting the tests' authority."""
    moved = f"cd '{folder}' && exec 2>&1\n{world.localize(script)}"
    env = {"SSL_CERT_FILE": str(certs.ca), "IMAP_PASSWORD": PASSWORD, "MAIL_PASSWORD": PASSWORD}
    return shell(moved, env=env, timeout_s=30)


# ------------------------------------------------------------------------------------------- comparing


def pattern(shown: str) -> str:
    """The regular expression for an output as it is shown."""
    lines = (
        r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\s*\n"
        for line in map(str.rstrip, shown.splitlines())
    )
    return "".join(lines)


def check(seen: str, shown: str) -> None:
    assert re.fullmatch(pattern(shown), seen), f"shown:\n{shown}\nseen:\n{seen}"


@pytest.mark.parametrize(
    ("shown", "seen", "equal"),
    [
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\n", "a\n", True),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a\nc\n", False),
        ("a\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_comparison(shown: str, seen: str, equal: bool) -> None:
    """What `…` stands for, and that nothing else stands for anything."""
    assert bool(re.fullmatch(pattern(shown), seen)) == equal


# ---------------------------------------------------------------------------------------------- blocks


def test_every_block_is_run() -> None:
    """Here or, where it installs, elsewhere; and there is one of each kind."""
    installing = [block for block in ALL if block.text.startswith(ELSEWHERE)]
    assert len(installing) == 4
    kinds = (SESSIONS, CONSOLES, SCRIPTS, LISTENERS, TAPS, REPLAYS, PROGRAMS, SERVERS, MOCKS, TESTS)
    assert sum(map(len, kinds)) + len(installing) == len(ALL)
    assert all(kinds)


@pytest.mark.parametrize("block", CONSOLES, ids=name_of)
def test_commands_and_their_output(block: Example, world: World, certs: CertSet, tmp_path: Path) -> None:
    """Each command of a block, one after the other in one shell, prints what is shown below it."""
    if " jq " in block.text:
        demand("jq")
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)[1:]
    commands, outputs = parts[::2], parts[1::2]
    # $? goes on from one command to the next.
    script = "".join(f"{command}\nstatus=$?; echo '{MARK}'; (exit $status)\n" for command in commands)
    seen = world.globalize(run(script, world, certs, tmp_path).stdout.decode()).split(f"{MARK}\n")
    assert seen.pop() == ""
    for output, shown in zip(seen, outputs, strict=True):
        check(output, shown)


@pytest.mark.parametrize("block", SESSIONS, ids=name_of)
def test_session(block: Example, world: World, certs: CertSet) -> None:
    """Typed on a terminal, line by line, each when what is shown above it has come."""
    command, *_ = block.text.splitlines()
    arguments = world.localize(command.removeprefix("$ cfcat ")).split()
    shown = block.text.partition("\n")[2]
    env = {"SSL_CERT_FILE": str(certs.ca), "CFCAT_HISTORY": ""}
    with terminal(*arguments, rows=50, columns=120, env=env, timeout_s=20) as term:

        def wait_for(text: str) -> None:
            wanted = re.compile(pattern(text))
            term.until(lambda lines: wanted.match(world.globalize("\n".join(lines) + "\n")))

        for prompt in re.finditer(r"^mail\.example:587[^>]*> (.+)$", shown, re.MULTILINE):
            wait_for(shown[: prompt.start(1)] + "\n")
            term.type(prompt[1] + "\r")
        wait_for(shown)
        term.type("\x04")
        assert term.finish() == 0


@pytest.mark.parametrize("block", SCRIPTS, ids=name_of)
def test_script(block: Example, world: World, certs: CertSet, tmp_path: Path) -> None:
    """Commands without shown output: their status is 0."""
    if "jq " in block.text:
        demand("jq")
    (tmp_path / "access.log").write_text("GET /\n" * 1000)
    (tmp_path / "message.eml").write_text("Subject: from a file\n\n.hidden\n")
    result = run(block.text, world, certs, tmp_path)
    assert result.status == 0, result
    if "Subject: by hand" in block.text or "message.eml" in block.text:
        assert b"\r\n250 OK id=" in result.stdout
    if "collector" in block.text:
        assert world.servers["collector.example:5140"].received == (tmp_path / "access.log").read_bytes()


@pytest.mark.parametrize("block", PROGRAMS, ids=["reading", "upgrading", "gathering", "postgres", "waiting"])
def test_program(block: Example, world: World, certs: CertSet, tmp_path: Path) -> None:
    """The library's examples print what they got."""
    program = tmp_path / "program.py"
    program.write_text(world.localize(block.text))
    result = shell(f"exec {sys.executable} -W error {program}", env={"SSL_CERT_FILE": str(certs.ca)}, timeout_s=30)
    assert (result.stderr, result.status) == ("", 0)
    seen = world.globalize(result.stdout.decode())
    if "gopher" in block.text:
        assert seen.startswith("iWelcome to Floodgap Systems' official gopher server.\t\t")
    elif "redis" in block.text:
        assert seen == "b'+OK\\r\\n'\nb'hello\\r\\n'\n".replace("\r", "")
    elif "wait_for" in block.text:
        assert seen.startswith("SocketInfo(remote_address='192.0.2.7:25'")
    elif "5432" in block.text:
        assert seen == "b'R' b'\\x00\\x00\\x00\\x00'\n"
    else:
        assert re.search(r"250-STARTTLS.*TLS go ahead.*SocketInfo\(.*TLSv1\.3", seen, re.DOTALL), seen


def dial(address: str) -> socket.socket:
    if address.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(address.removeprefix("unix:"))
        return client
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10)


@pytest.mark.parametrize("line", lines_of(LISTENERS))
def test_listener(line: str, tmp_path: Path) -> None:
    """Each command listens where it says, and a client can come; any free port in place of the one that is shown."""
    words = shlex.split(re.sub(r"\b(2525|5432)\b", "0", line).replace("/tmp", str(tmp_path)))
    with start(*words[1:], "-v") as program:
        said = program.read_stderr_until("listening on ") + program.read_stderr_until("\n")
        found = re.search(r"listening on (\S+?)(,.*)?\n", said)
        assert found is not None
        with dial(found[1]):
            program.read_stderr_until("cfcat: accepted ")
        program.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("line", lines_of(TAPS))
def test_tap(line: str, world: World, certs: CertSet, tmp_path: Path) -> None:
    """Each command of a tap: cfcat is the client, and hears the server through it."""
    command = world.localize(line.replace("localhost:25", "mail.example:25"))
    words = [str(tmp_path / word) if word == "F" else word for word in shlex.split(command)]
    words[words.index("--tap") + 1] = "0"
    authority = tmp_path / "ca.pem"
    with start(*words[1:], "--ca-out", authority, env={"SSL_CERT_FILE": str(certs.ca)}, timeout_s=20) as program:
        said = program.read_stderr_until("listening on ") + program.read_stderr_until("\n")
        found = re.search(r"listening on (\S+)\n", said)
        assert found is not None
        upgrade: tuple[str, ...]
        if "5432" in line:
            upgrade, asked, answer = ("--starttls", "postgres"), b"X\0\0\0\x04", rb"> - .*\n#1 .* < - S\n"
        elif "--accept-tls" in line:
            upgrade, asked, answer = ("--tls", "on"), b"QUIT\r\n", rb"< T 220 "
        elif "--tls on" in line:
            upgrade, asked, answer = (), b"QUIT\r\n", rb"< T 220 "
        else:
            upgrade, asked, answer = ("--starttls", "smtp"), b"QUIT\r\n", rb"< T 221 "
        result = cfcat(*upgrade, *(("--cacert", authority) if upgrade else ()), found[1], stdin=asked)
        assert result.status == 0, result.stderr
        program.read_until(b"over after")
        program.send_signal(signal.SIGTERM)
        assert re.search(answer, finish(program).stdout)


@pytest.mark.parametrize("block", REPLAYS, ids=["smtp"])
def test_replay(block: Example, world: World, tmp_path: Path) -> None:
    """Recorded by the tap; then the client with the recording, and the recording with the server."""
    log = str(tmp_path / "smtp.log")
    lines = [world.localize(line).replace("2525", "0") for line in lines_of([block])]
    tap, server, client = ([log if word == "smtp.log" else word for word in shlex.split(line)[1:]] for line in lines)
    heard = []
    for words in (tap, server):
        with start(*words, timeout_s=20) as program:
            said = program.read_stderr_until("listening on ") + program.read_stderr_until("\n")
            found = re.search(r"listening on (\S+)\n", said)
            assert found is not None
            result = cfcat("--after", "^220 ", found[1], stdin=b"QUIT\r\n")
            assert result.status == 0, result.stderr
            heard.append(result.stdout)
            assert program.wait(20) == 0
    assert heard[0] == heard[1]
    assert heard[0].startswith(b"220 ")
    assert cfcat(*client) == Result(b"", "", 0)


@pytest.mark.parametrize("block", MOCKS, ids=["smtp"])
def test_mock(block: Example, tmp_path: Path) -> None:
    """The example passes with a recording of a server that is polite."""
    moment = "2026-11-23T15:04:05.123Z"
    said = (r"< - 220 h\r\n", r"> - ehlo h\r\n", r"< - 250 h\r\n", r"> - noop\r\n", r"< - 250 OK\r\n")
    last = (r"> - QUIT\r\n", r"< - 221 bye\r\n", "* - peer ended: 26 bytes received")
    lines = ("* - connecting to h:25 --tls off", *said, *last)
    (tmp_path / "smtp.log").write_text("".join(f"{moment} {line}\n" for line in lines))
    (tmp_path / "program.py").write_text(block.text)
    result = shell(f"cd {tmp_path} && exec {sys.executable} -W error program.py", timeout_s=30)
    assert (result.stderr, result.status) == ("", 0)


@pytest.mark.parametrize("block", TESTS, ids=["lines"])
def test_test(block: Example, tmp_path: Path) -> None:
    """The example passes, and fails where its handler does something else."""
    for old, new, status in (("upper", "upper", 0), ("upper", "lower", 1)):
        (tmp_path / "program.py").write_text(block.text.replace(old, new))
        result = shell(f"exec {sys.executable} -W error {tmp_path}/program.py", timeout_s=30)
        assert result.status == status, result.stderr


@pytest.mark.parametrize("block", SERVERS, ids=["echo"])
def test_server(block: Example, tmp_path: Path) -> None:
    """The example listens, and echoes under TLS to who trusts the authority that it wrote."""
    (tmp_path / "program.py").write_text(block.text.replace(":8025", ":0"))
    command = [sys.executable, "-u", "-W", "error", "program.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, env=environment()) as program:
        try:
            assert program.stdout is not None
            address = program.stdout.readline().decode().strip()
            flags = ("--tls", "on", "--cacert", tmp_path / "ca.pem", "--sni", "mail.example")
            assert cfcat(*flags, address, stdin=b"hello") == Result(b"hello", "", 0)
        finally:
            program.terminate()
