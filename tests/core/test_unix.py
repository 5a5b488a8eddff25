"""Connecting to a Unix socket: paths, names without a file, and what there is not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cfcat import (
    ConnectError,
    ConnectTimeout,
    OptionsError,
    SocketAddress,
    WorkersPolicy,
    connect,
    listen,
    make_server_context,
    make_tls_context,
    proxy,
)
from cfcat.core.address import parse_address, unix_path
from cfcat.core.trace import Connected, TraceEvent
from tests.helpers.certs import CertSet

ABSTRACT = pytest.mark.skipif(not os.path.exists("/proc/net/unix"), reason="names without a file are Linux's")


@contextmanager
def serving(name: str, backlog: int = 5) -> Iterator[socket.socket]:
    """Listen there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(name)
        listener.listen(backlog)
        listener.settimeout(10)
        yield listener


@contextmanager
def echoing(name: str) -> Iterator[None]:
    """Whoever connects gets back what it sent, at its end."""

    def serve() -> None:
        conn, _ = listener.accept()
        with conn:
            data = b""
            while chunk := conn.recv(100):
                data += chunk
            with suppress(OSError):  # it may have left
                conn.sendall(data)

    with serving(name) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/x", "/run/x"),
        ("unix:./x", "./x"),
        ("unix:../x:1", "../x:1"),
        ("unix:@x", "@x"),
        ("unix:x", None),
        ("unix:.x", None),
        ("unix:", None),
        ("unix:@", None),
        ("unix:80", None),
        ("xunix:/x", None),
    ],
)
def test_which_address_is_a_unix_socket(text: str, path: str | None) -> None:
    """A host called `unix` has a port behind it (A12)."""
    assert unix_path(text) == path
    if path is not None:
        assert parse_address(text) == (text, "", 0)
    assert parse_address("unix:80") == ("unix:80", "unix", 80)
    assert parse_address(SocketAddress("unix", 80)).host == "unix"


async def exchange(address: str, **options: Any) -> tuple[bytes, list[TraceEvent]]:
    events: list[TraceEvent] = []
    async with connect(address, trace=events.append, allow_half_open=True, **options) as connection:
        assert await connection.opened == (address, "")
        writer = connection.writable.get_writer()
        await writer.write(b"ping")
        await writer.close()
        return b"".join([chunk async for chunk in connection.readable]), events


async def test_a_path(tmp_path: Path) -> None:
    """Both ways, both ends, and what is told."""
    with echoing(str(tmp_path / "x")):
        data, events = await exchange(f"unix:{tmp_path}/x")
    assert data == b"ping"
    assert [type(event).__name__ for event in events] == ["Resolved", "Attempted", "Connected"]
    assert isinstance(events[-1], Connected)
    assert events[-1].text().startswith(f"connected to unix:{tmp_path}/x in ")


async def test_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder that the process is in."""
    monkeypatch.chdir(tmp_path)
    with echoing("x"):
        assert (await exchange("unix:./x"))[0] == b"ping"


@ABSTRACT
async def test_a_name_without_a_file() -> None:
    """unix(7)."""
    name = f"cfcat-{os.getpid()}"
    with echoing(f"\0{name}"):
        assert (await exchange(f"unix:@{name}"))[0] == b"ping"


async def test_tls(tmp_path: Path, certs: CertSet) -> None:
    """With the name that the certificate is for."""
    address = f"unix:{tmp_path}/x"
    context = make_server_context(cert=certs["good"].chain, key=certs["good"].key)
    async with listen(address, secure_transport="on", tls=context) as listener:
        options: Any = {"secure_transport": "on", "tls": make_tls_context(cacert=certs.ca)}
        async with connect(address, expected_server_hostname="localhost", **options) as connection:
            accepted = await anext(aiter(listener))
            await connection.opened
            assert connection.tls_info is not None
            assert connection.tls_info.verified
            accepted.abort()
            connection.abort()


@pytest.mark.parametrize("what", ["nothing", "a file", "nobody listens", "too long"])
async def test_what_is_there_is_no_listener(what: str, tmp_path: Path) -> None:
    """The system's words, and the address."""
    path, reason = tmp_path / "x", "connection refused"
    if what == "nothing":
        reason = "no such file or directory"
    elif what == "a file":
        path.touch()
    elif what == "nobody listens":
        with serving(str(path)):
            pass
    else:
        path, reason = tmp_path / ("x" * 200), "af_unix path too long"
    with pytest.raises(ConnectError) as caught:
        await connect(f"unix:{path}").opened
    assert caught.value.detail == f"unix:{path}: {reason}"
    assert [attempt.address for attempt in caught.value.attempts] == [f"unix:{path}"]


async def test_a_listener_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    """Its backlog is full; when there is room the connection comes about."""
    with serving(str(tmp_path / "x"), backlog=0) as listener, socket.socket(socket.AF_UNIX) as first:
        first.connect(str(tmp_path / "x"))
        connection = connect(f"unix:{tmp_path}/x")
        with pytest.raises(ConnectTimeout) as caught:
            await connect(f"unix:{tmp_path}/x", connect_timeout=0.2).opened
        assert caught.value.detail == f"unix:{tmp_path}/x: no connection after 0.2 s"
        listener.accept()[0].close()
        await connection.opened
        connection.abort()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"via": proxy("http://gate")}, "a proxy means nothing there"),
        ({"source": "127.0.0.1"}, "a source means nothing there"),
        ({"address_family": "ipv4"}, "an address family means nothing there"),
        ({"policy": WorkersPolicy()}, "a policy means nothing there"),
        ({"secure_transport": "on"}, "TLS needs the name of the server"),
    ],
)
async def test_options_that_mean_nothing_there(options: dict[str, Any], what: str) -> None:
    """By `connect()` itself."""
    with pytest.raises(OptionsError, match=f"unix:/x is a Unix socket: {what}"):
        connect("unix:/x", **options)
