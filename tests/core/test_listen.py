"""The doors that connections come in by: TCP and Unix, their addresses, their files, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket as stdlib
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cfcat.core.listen import NameDoor, TcpDoor, UnixDoor
from cfcat.core.race import Address
from tests.helpers.links import open_descriptors, outcome, turns

HOSTS = {"127.0.0.1": stdlib.AF_INET, "::1": stdlib.AF_INET6}


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[TcpDoor]:
    door = TcpDoor(Address(HOSTS[host], (host, 0)))
    try:
        yield door
    finally:
        door.close()


def dial(door: TcpDoor) -> stdlib.socket:
    return stdlib.create_connection(door.address.sockaddr[:2], timeout=5)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_connection_is_accepted_with_where_it_comes_from(host: str) -> None:
    """Non-blocking, and `ip:port`, IPv6 in brackets."""
    with listening(host) as door, dial(door) as client:
        sock, remote = await door.accept()
        with sock:
            assert not sock.getblocking()
            assert remote == Address(HOSTS[host], client.getsockname()).text


async def test_a_cancelled_accept_loses_no_connection() -> None:
    """The next `accept()` has it."""
    with listening() as door:
        waiting = asyncio.create_task(outcome(door.accept()))
        await turns(2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with dial(door) as client:
            sock, remote = await door.accept()
            with sock:
                assert remote == Address(stdlib.AF_INET, client.getsockname()).text


def test_an_address_in_use_is_an_error_and_leaves_nothing_behind() -> None:
    """Said when the door is made."""
    with listening() as door:
        before = open_descriptors()
        with pytest.raises(OSError, match="in use"):
            TcpDoor(door.address)
        assert open_descriptors() == before


def test_an_address_can_be_used_again_at_once() -> None:
    """The connection that was accepted before lingers in the kernel, and keeps nobody out."""
    with listening() as door:
        address = door.address
        client = dial(door)
        sock, _ = door._sock.accept()
        sock.close()
        client.close()
    TcpDoor(address).close()


async def test_a_unix_door_is_for_its_owner_and_goes_with_it(tmp_path: Path) -> None:
    """The file is 0600 whatever the mask, and is removed at the end."""
    path = tmp_path / "door"
    mask = os.umask(0)
    try:
        door = UnixDoor(str(path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(mask)
    assert door.text == f"unix:{path}"
    with stdlib.socket(stdlib.AF_UNIX) as client:
        client.connect(str(path))
        sock, remote = await door.accept()
        sock.close()
    assert remote == ""
    door.close()
    assert not path.exists()


ABSTRACT = pytest.mark.skipif(not os.path.exists("/proc/net/unix"), reason="names without a file are Linux's")


@ABSTRACT
async def test_a_name_without_a_file_is_listened_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """unix(7): nothing is in the folder, and a second listener is refused."""
    monkeypatch.chdir(tmp_path)
    name = f"cfcat-{os.getpid()}"
    with contextlib.closing(NameDoor(f"@{name}")) as door, stdlib.socket(stdlib.AF_UNIX) as client:
        client.connect(f"\0{name}")
        sock, remote = await door.accept()
        sock.close()
        assert (door.text, remote, os.listdir()) == (f"unix:@{name}", "", [])
        before = open_descriptors()
        with pytest.raises(OSError, match="in use"):
            NameDoor(f"@{name}")
        assert open_descriptors() == before


@ABSTRACT
@pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")
async def test_a_name_without_a_file_is_for_its_owner() -> None:
    """It has no permissions, so another user is dropped; the next client is accepted."""
    name = f"cfcat-{os.getpid()}"
    with contextlib.closing(NameDoor(f"@{name}")) as door, stdlib.socket(stdlib.AF_UNIX) as other:
        os.seteuid(65534)
        try:
            other.connect(f"\0{name}")
        finally:
            os.seteuid(0)
        with stdlib.socket(stdlib.AF_UNIX) as client:
            client.connect(f"\0{name}")
            client.send(b"x")
            sock, _ = await door.accept()
            with sock:
                assert sock.recv(1) == b"x"
        other.settimeout(5)
        assert other.recv(1) == b""


def test_a_unix_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    """What a server that was killed has left."""
    path = tmp_path / "door"
    with stdlib.socket(stdlib.AF_UNIX) as left:
        left.bind(str(path))
    door = UnixDoor(str(path))
    with stdlib.socket(stdlib.AF_UNIX) as client:
        client.connect(str(path))
    door.close()


@pytest.mark.parametrize("full", [False, True], ids=["", "its backlog is full"])
def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path, full: bool) -> None:
    """Somebody listens there: in use, as for TCP."""
    path = tmp_path / "door"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(stdlib.socket(stdlib.AF_UNIX))
        server.bind(str(path))
        server.listen(0)
        for _ in range(5 if full else 0):
            client = stack.enter_context(stdlib.socket(stdlib.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(path))
        before = open_descriptors()
        with pytest.raises(OSError, match="in use"):
            UnixDoor(str(path))
        assert open_descriptors() == before
    assert path.exists()


def test_a_unix_socket_that_is_about_to_be_listened_on_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between bind() and listen() it refuses as a stale one does; a moment later it does not."""
    path = tmp_path / "door"
    with stdlib.socket(stdlib.AF_UNIX) as server:
        server.bind(str(path))
        monkeypatch.setattr("cfcat.core.listen.time.sleep", lambda _: server.listen())
        with pytest.raises(OSError, match="in use"):
            UnixDoor(str(path))
    assert path.exists()


def test_a_unix_socket_that_somebody_else_has_replaced_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that start at a time after a death: the file of the first is not the stale one."""
    path = tmp_path / "door"
    with stdlib.socket(stdlib.AF_UNIX) as stale, stdlib.socket(stdlib.AF_UNIX) as other:
        stale.bind(str(path))

        def replace(_: float) -> None:
            path.rename(tmp_path / "stale")  # its number stays taken
            other.bind(str(path))

        monkeypatch.setattr("cfcat.core.listen.time.sleep", replace)
        with pytest.raises(OSError, match="in use"):
            UnixDoor(str(path))
    assert path.exists()


def test_nothing_is_left_of_a_unix_door_that_cannot_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is made by bind(), before."""

    def out_of_memory(*_: object) -> None:
        raise OSError(errno.ENOMEM, "out of memory")

    monkeypatch.setattr(stdlib.socket, "listen", out_of_memory)
    path = tmp_path / "door"
    before = open_descriptors()
    with pytest.raises(OSError, match="out of memory"):
        UnixDoor(str(path))
    assert not path.exists()
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_never_touched(tmp_path: Path, kind: str) -> None:
    """Neither removed nor followed."""
    path = tmp_path / "door"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="no socket"):
        UnixDoor(str(path))
    assert os.path.lexists(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_took_the_place_is_left(tmp_path: Path) -> None:
    """At the end only what is still ours is removed."""
    path = tmp_path / "door"
    door = UnixDoor(str(path))
    path.unlink()
    path.write_text("mine")
    door.close()
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    """The kernel takes 107 bytes."""
    with pytest.raises(OSError, match="too long"):
        UnixDoor(str(tmp_path / ("x" * 120)))
