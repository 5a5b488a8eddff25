"""Many short runs, and what they leave behind: descriptors, threads, memory (rows 57 and 58, at any size).

    python -m tests.faults.leaks           # a little
    python -m tests.faults.leaks --full    # 10,000 connections, 1,000 runs of the program here, 1,000 processes

What is left is what counts; how long it takes is told for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cfcat.program.start
from cfcat import SocketError, connect, make_tls_context
from tests.helpers.certs import CertSet, make_certs
from tests.helpers.links import open_descriptors
from tests.helpers.peers import refusing
from tests.helpers.program import command, environment

__all__ = [
    "Growth",
    "Kind",
    "Servers",
    "check",
    "connections",
    "growth_of",
    "programs",
    "runs_in_this_process",
    "serving",
]

DATA = bytes(range(256)) * 16
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# What is made once, at the first use of a thing, has been made after so many uses of all of them. Garbage in cycles
# stays until Python collects in full: after so many, it has taken as much memory as it ever does.
WARM_UP = 400
# What the counting itself holds, and what Python's caches gain that nothing can empty.
NOISE_BLOCKS = 50


@dataclass(frozen=True)
class Servers:
    """Ports of echo servers in another process, and one on which nobody listens."""

    plain: int
    tls: int
    starttls: int
    refused: int


@contextlib.contextmanager
def serving(certs: CertSet) -> Iterator[Servers]:
    """Echo servers, of which nothing counts as ours."""
    argv = [sys.executable, "-m", "tests.faults.leaks", "--serve", str(certs["good"].pem)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        plain, tls, starttls = map(int, process.stdout.readline().split())
        with refusing() as refused:
            yield Servers(plain, tls, starttls, refused)
    finally:
        process.communicate()  # the end of its input is its own


def _serve(pem: str) -> None:
    """Be those servers, one connection of each at a time, until stdin ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def plain(conn: socket.socket) -> None:
        while chunk := conn.recv(1 << 16):
            conn.sendall(chunk)

    def tls(conn: socket.socket) -> None:
        with context.wrap_socket(conn, server_side=True) as secured:
            plain(secured)
            secured.unwrap()

    def starttls(conn: socket.socket) -> None:
        conn.recv(100)
        conn.sendall(b"go ahead")
        tls(conn)

    def accept(listener: socket.socket, talk: Callable[[socket.socket], None]) -> None:
        while True:
            conn = listener.accept()[0]
            with conn, contextlib.suppress(OSError):
                conn.settimeout(10)
                talk(conn)

    listeners = [socket.create_server(("127.0.0.1", 0), backlog=100) for _ in range(3)]
    for listener, talk in zip(listeners, (plain, tls, starttls), strict=True):
        threading.Thread(target=accept, args=(listener, talk), daemon=True).start()
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    sys.stdin.read()


# -------------------------------------------------------------------------------------------- what is left


@dataclass(frozen=True)
class Growth:
    """What `count` uses have left behind, each after a warm-up. `blocks`: of Python's own memory."""

    count: int
    seconds: float
    descriptors: frozenset[str]
    threads: int
    objects: int
    blocks: int
    memory_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.count} in {self.seconds:.1f} s: {len(self.descriptors)} descriptors, {self.threads} threads, "
            f"{self.objects} objects, {self.blocks} blocks, {self.memory_bytes // 1024} KiB"
        )


def _forget_attribute_names() -> None:
    """Empty the cache in which Python looks up attributes of types: what it holds is no leak of ours.

    Its 4,096 entries each keep the looked-up name alive, and are found by the address of that name, not by its text.
    So a name that C code makes anew for every lookup fills one entry after the other, until all are taken. From
    Python 3.12 on `V | None` with a TypeVar does that ("_make_union"), and typer has one in its parser: in 200 runs
    about 200 blocks, in 10,000 not more than there are entries.
    """
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()
    else:
        sys._clear_type_cache()


def _now() -> tuple[frozenset[str], int, int, int, int]:
    if gc.isenabled():
        gc.collect()
    _forget_attribute_names()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    objects = len(gc.get_objects())
    return frozenset(open_descriptors()), threading.active_count(), objects, sys.getallocatedblocks(), resident


@contextlib.contextmanager
def _growing(count: int, found: list[Growth]) -> Iterator[None]:
    began, before = time.monotonic(), _now()
    yield
    now = _now()
    numbers = [after - first for after, first in zip(now[1:], before[1:], strict=True)]
    found.append(Growth(count, time.monotonic() - began, now[0] - before[0], *numbers))


def growth_of(use: Callable[[int], None], count: int) -> Growth:
    """Do it so often, after some times for a beginning."""
    found: list[Growth] = []
    use(WARM_UP)
    with _growing(count, found):
        use(count)
    return found[0]


def check(growth: Growth) -> None:
    """Expect no leak, apart from small noise."""
    assert not growth.descriptors, growth
    assert growth.threads <= 0, growth
    assert growth.objects < growth.count / 10, growth
    assert growth.blocks < growth.count / 10 + NOISE_BLOCKS, growth
    assert growth.memory_bytes < 2 * 1024 * 1024 + growth.count * 64, growth


# ---------------------------------------------------------------------------------------------- the library


Kind = Literal["connect", "tls", "upgrade", "cancel", "drop", "all"]


def connections(servers: Servers, certs: CertSet, kind: Kind = "all") -> Callable[[int], None]:
    """So many short connections of the library, one after the other: of one kind, or of all with every end."""
    context = make_tls_context(cacert=certs.ca)
    plain, secure, upgrading = (f"127.0.0.1:{port}" for port in (servers.plain, servers.tls, servers.starttls))

    async def echo(address: str, mode: str = "off") -> None:
        client = connect(address, secure_transport=mode, tls=context)  # type: ignore[arg-type]
        if mode == "starttls":
            writer, reader = client.writable.get_writer(), client.readable.get_reader()
            await writer.write(b"please")
            await reader.read()
            client = client.start_tls()
        writer = client.writable.get_writer()
        await writer.write(DATA)
        await writer.close()
        data = b"".join([chunk async for chunk in client.readable])
        assert data == DATA
        await client.closed

    async def refused() -> None:
        with contextlib.suppress(SocketError):
            await connect(f"127.0.0.1:{servers.refused}").opened

    async def aborted(mode: str, address: str, turns: int) -> None:
        client = connect(address, secure_transport=mode, tls=context)  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(client.readable.get_reader().read())
        for _ in range(turns):
            await asyncio.sleep(0)
        client.abort()
        await asyncio.wait({waiting})
        waiting.exception()

    async def cancelled() -> None:
        async def use() -> None:
            async with connect(plain) as client:
                async for _ in client.readable:
                    pass

        task = asyncio.ensure_future(use())
        done, _ = await asyncio.wait({task}, timeout=0.001)
        assert not done
        task.cancel()
        await asyncio.wait({task})

    uses: dict[str, Callable[[int], Awaitable[None]]] = {
        "connect": lambda number: echo(plain),
        "tls": lambda number: echo(secure, "on"),
        "upgrade": lambda number: echo(upgrading, "starttls"),
        "refused": lambda number: refused(),
        "drop": lambda number: aborted("off", plain, number % 7),
        "drop tls": lambda number: aborted("on", secure, number % 29),
        "cancel": lambda number: cancelled(),
    }
    mixed = ["connect"] * 12 + ["tls", "upgrade", "refused", "refused", "drop", "drop", "drop tls", "cancel"]
    order = mixed if kind == "all" else [kind]

    async def many(count: int) -> None:
        for number in range(count):
            await uses[order[number % len(order)]](number)

    return lambda count: asyncio.run(many(count))


# ---------------------------------------------------------------------------------------------- the program


def runs_in_this_process(servers: Servers, certs: CertSet) -> Callable[[int], None]:
    """So many runs of the command line, without a new process."""
    secure = ["--tls", "on", "--cacert", str(certs.ca)]

    def use(count: int) -> None:
        with _silenced():
            for number in range(count):
                kind = number % 10
                port = servers.refused if kind == 9 else servers.tls if kind == 8 else servers.plain
                options = secure if kind == 8 else ["--repl"] if kind == 7 else ["--pipe"]
                if kind:  # of ten, one waits half a second before its end
                    options = [*options, "--shutdown", "now"]
                status = cfcat.program.start.run([*options, f"127.0.0.1:{port}"])
                assert status == (7 if kind == 9 else 0), (number, status)

    return use


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """With /dev/null as stdin, stdout and stderr, and with the signal as `cfcat.__main__` has it."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    kept = [os.dup(fd) for fd in range(3)]
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    try:
        yield
    finally:
        for fd, copy in enumerate(kept):
            os.dup2(copy, fd)
            os.close(copy)
        os.close(null)
        signal.signal(signal.SIGINT, handler)


def programs(servers: Servers, count: int) -> list[str]:
    """So many processes, one after the other: the files that they have left behind."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        paths = dict.fromkeys(("HOME", "TMPDIR", "XDG_STATE_HOME"), folder)
        for _ in range(count):
            pid = os.posix_spawn(
                sys.executable,
                command("--shutdown", "now", f"127.0.0.1:{servers.plain}"),
                environment(paths),
                file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)],
            )
            assert os.waitpid(pid, 0)[1] == 0
        return [str(path) for path in Path(folder).rglob("*")]


def main(*arguments: str) -> None:
    if arguments[:1] == ("--serve",):
        _serve(arguments[1])
        return
    sizes = (10_000, 1_000, 1_000) if arguments == ("--full",) else (1_000, 100, 20)
    with tempfile.TemporaryDirectory() as folder:
        certs = make_certs(Path(folder))
        with serving(certs) as servers:
            print("connections:", growth_of(connections(servers, certs), sizes[0]), flush=True)
            print("runs:", growth_of(runs_in_this_process(servers, certs), sizes[1]), flush=True)
            began = time.monotonic()
            left = programs(servers, sizes[2])
            print(f"processes: {sizes[2]} in {time.monotonic() - began:.1f} s: files {left}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
