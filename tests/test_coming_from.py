"""The manual's COMING FROM OTHER TOOLS, and WORKERS: each row is run, as a command, as lines of a script, as Python."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cfcat import Socket, SocketAddress, connect, make_tls_context
from cfcat import serve as serve_calls
from cfcat.core import context
from tests.documents.examples import MANUAL, PAGES, plain
from tests.helpers.certs import CertSet
from tests.helpers.installed import demand
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, start
from tests.servers.fleet import Fleet
from tests.test_examples import World, dial, run

pytestmark = pytest.mark.one_python

MAIL = b"EHLO me.example\r\nQUIT\r\n"
WEB = b"GET / HTTP/1.0\r\n\r\n"


class Row(NamedTuple):
    """What is typed with another tool, and here."""

    tool: str
    idiom: str
    lines: tuple[str, ...]


def rows() -> Iterator[Row]:
    text = MANUAL.partition("\n.Sh COMING FROM OTHER TOOLS\n")[2].partition("\n.Sh ")[0]
    for part in re.split(r"^\.Ss ", text, flags=re.MULTILINE)[1:]:
        tool, _, rest = part.partition("\n")
        for item in re.split(r"^\.It ", rest, flags=re.MULTILINE)[1:]:
            idiom, *lines = (plain(line) for line in item.replace(".El\n", "").splitlines())
            yield Row(tool, idiom, tuple(line.removeprefix(".Dl ") for line in lines))


ALL = list(rows())
COMMANDS = [row for row in ALL if row.lines[0].startswith("cfcat ")]
LISTENING = [row for row in COMMANDS if row.lines[0].startswith("cfcat -l")]
TALKING = [row for row in COMMANDS if row not in LISTENING]


def lines_of(tool: str) -> list[tuple[str, ...]]:
    return [row.lines for row in ALL if row.tool == tool and row not in COMMANDS]


def name_of(row: Row) -> str:
    return row.idiom


def test_each_tool_has_its_rows() -> None:
    """And each row is run by one of the tests below."""
    assert {row.tool for row in ALL} == {"nc and ncat", "socat", "openssl s_client", "telnet", "swaks", "expect"}
    assert len({row.idiom for row in ALL}) == len(ALL)
    in_scripts = sum(len(lines_of(tool)) for tool in ("telnet", "swaks", "expect"))
    assert len(LISTENING) + len(TALKING) + in_scripts == len(ALL)


@pytest.mark.parametrize("row", TALKING, ids=name_of)
def test_command(row: Row, daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """In a shell, against the daemon that its name stands for: status 0, and something was said."""
    (command,) = row.lines
    if "jq" in command:
        demand("jq")
    content = WEB if "example.com" in command else b":reply 220\nQUIT\n" if "--script" in command else MAIL
    (tmp_path / "file").write_bytes(content)
    joined = re.sub(r"(example|com) (\d+)", r"\1:\2", command)
    with ExitStack() as stack:
        local = World(certs, daemon, stack).localize(joined)
        if joined != command:
            local = re.sub(r"localhost:(\d+)", r"localhost \1", local)
        result = run(local, World(certs, daemon, stack), certs, tmp_path)
    assert result.status == 0, result
    assert result.stdout or "-z" in command


@pytest.mark.parametrize("row", LISTENING, ids=name_of)
def test_listening_command(row: Row) -> None:
    """A client can come."""
    words = shlex.split(row.lines[0].replace("2525", "0"))
    with start(*words[1:], "-v") as program:
        said = program.read_stderr_until("listening on ") + program.read_stderr_until("\n")
        found = re.search(r"listening on (\S+?)(,.*)?\n", said)
        assert found is not None
        with dial(found[1]):
            program.read_stderr_until("cfcat: accepted ")


@pytest.mark.parametrize("lines", lines_of("telnet"), ids=str)
def test_lines_for_a_telnet_user(lines: tuple[str, ...]) -> None:
    """Each by itself is a script."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--repl", server.address, stdin="\n".join((*lines, "")).encode())
    assert (result.stdout, result.status) == (b"", 0)


def test_lines_for_a_swaks_user(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """Together they are a mail that exim takes, with all lines of a file that an editor has written."""
    (tmp_path / "file").write_bytes(b"Subject: by hand\n\n.\n.hidden\n..two\nHello.")
    script = [":reply 220", *(line for lines in lines_of("swaks") for line in lines), ""]
    text = (
        "\n".join(script)
        .replace(":file -m file", f":file -m {tmp_path}/file")
        .replace("you@mail.example", "you@localhost")
    )
    options = ["--tls", "starttls", "--proto", "smtp", "--cacert", str(certs.ca)]
    result = cfcat("--repl", *options, f"localhost:{daemon('smtp').port}", stdin=text.encode())
    assert result.status == 0, result
    assert b"\r\n250 OK id=" in result.stdout
    assert b"Subject: by hand\n\n.\n.hidden\n..two\nHello.\n" in (daemon("smtp").folder / "mbox").read_bytes()


def test_lines_for_an_expect_user(tmp_path: Path) -> None:
    """Together, in their order, they are a dialog."""

    def talks(conn: Peer) -> None:
        conn.send(b"220 a\r\n220 host.example\r\n250 ok\r\n220 b\r\n")
        conn.recv_until_eof()

    text = "\n".join((*(line for lines in lines_of("expect") for line in lines), ""))
    script = text.replace(":log file", f":log {tmp_path}/log").encode()
    with serve(talks) as server:
        env: dict[str, str | None] = {"HOME": "/home/me", "CFCAT_SECRET": "hunter2"}
        result = cfcat("--repl", server.address, stdin=script, env=env)
    assert result == Result(b"220 a\r\n220 host.example\r\n250 ok\r\n220 b\r\n", "done\n", 0)
    assert server.received == b"NOOP\rEHLO /home/me\r\nhost.example\r\nhunter2\r\n"


def test_lines_for_a_worker(daemon: Fleet, certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together, in their order, they talk to exim; the last line serves until it is cancelled."""
    text = PAGES["cfcat.3"].partition("\n.Sh COMING FROM WORKERS\n")[2].partition("\n.Sh ")[0]
    lines = [plain(line) for line in re.findall(r"^\.Dl (.*)$", text, flags=re.MULTILINE)]
    assert len(lines) == len(re.findall(r"^\.It Li ", text, flags=re.MULTILINE))
    *talking, serving = lines
    port = str(daemon("smtp").port)
    monkeypatch.setattr(context, "_contexts", [make_tls_context(cacert=certs.ca)])
    names: dict[str, Any] = {
        "SocketAddress": SocketAddress,
        "asyncio": asyncio,
        "connect": connect,
        "serve": serve_calls,
    }

    async def step(line: str) -> None:
        local = line.replace("mail.example", "localhost").replace(", 25)", f", {port})").replace(":25", f":{port}")
        code = compile(local, line, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, names)
        else:
            exec(code, names)

    async def all_steps() -> None:
        for line in talking:
            if "start_tls" in line:
                await starttls_by_hand(names["socket"])
            await step(line)
            if "start_tls" in line:
                await names["secure"].opened
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await step(serving.replace(":8025", ":0"))

    asyncio.run(asyncio.wait_for(all_steps(), 20))
    assert names["value"].startswith(b"220 ")
    assert not names["done"]
    assert names["secure"].tls_info.version == "TLSv1.3"


async def starttls_by_hand(socket: Socket) -> None:
    reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
    await reader.read_until()
    for line in (b"EHLO me.example\r\n", b"STARTTLS\r\n"):
        await writer.write(line)
        while (await reader.read_until())[3:4] == b"-":
            pass
