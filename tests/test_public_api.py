"""The library as its users see it: names, docstrings, types, and the example of the documentation."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cfcat
from cfcat import (
    Judgement,
    Promise,
    Socket,
    SocketAddress,
    SocketInfo,
    SocketOptions,
    Verdict,
    WorkersPolicy,
    connect,
    make_tls_context,
)
from cfcat.core import readable, writable
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve

STREAMS = [getattr(module, name) for module in (readable, writable) for name in module.__all__]
CLASSES = [Socket, SocketAddress, SocketInfo, SocketOptions, Promise, Judgement, Verdict, WorkersPolicy, *STREAMS]
ERRORS = [
    thing
    for name in cfcat.__all__
    if isinstance(thing := getattr(cfcat, name), type) and issubclass(thing, BaseException)
]


def methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of a class and the getters of its properties, those that it inherits from us included."""
    for name, member in inspect.getmembers_static(kind):
        if name.startswith("_") and name not in ("__aenter__", "__aexit__", "__aiter__", "__await__"):
            continue
        if isinstance(member, property):
            assert member.fget is not None
            member = member.fget
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        if isinstance(member, types.FunctionType) and member.__module__.startswith("cfcat."):
            yield name, member


METHODS = [(kind, name, function) for kind in CLASSES for name, function in methods(kind)]
METHOD_IDS = [f"{kind.__name__}.{name}" for kind, name, _ in METHODS]


@pytest.mark.parametrize("name", cfcat.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    """Lazily or not, and it says what it is."""
    thing = getattr(cfcat, name)
    if name != "__version__":
        assert inspect.getdoc(thing)
        assert thing.__name__ == name


def test_all_is_complete_and_in_order() -> None:
    """`dir()` shows it, nothing stands in it twice, and what a star import brings is just that."""
    assert len(set(cfcat.__all__)) == len(cfcat.__all__)
    assert dir(cfcat) == sorted(cfcat.__all__)
    namespace: dict[str, object] = {}
    exec("from cfcat import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(cfcat.__all__)


def test_what_the_documentation_imports_is_there() -> None:
    """The five names of the page on the core."""
    assert {"connect", "Socket", "SocketAddress", "SocketInfo", "SocketOptions"} <= set(cfcat.__all__)


def test_type_checkers_see_the_names_that_python_sees() -> None:
    """The imports for type checkers and the table of lazy ones are two lists of the same names."""
    source = Path(cfcat.__file__).read_text()
    for name in set(cfcat.__all__) - {"__version__"}:
        assert f" import {name} as {name}\n" in source


def test_another_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        getattr(cfcat, "no_such_name")  # noqa: B009


def test_the_version_is_that_of_the_package() -> None:
    """One number, and what pip says."""
    assert cfcat.__version__ == importlib.metadata.version("cfcat")


def test_the_package_says_that_it_is_typed() -> None:
    """PEP 561."""
    assert (Path(cfcat.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(("kind", "name", "function"), METHODS, ids=METHOD_IDS)
def test_every_public_method_has_a_docstring(kind: type, name: str, function: Callable[..., Any]) -> None:
    """What the signature cannot say; `async with` and the like are explained by their class."""
    if not name.startswith("__"):
        assert inspect.getdoc(getattr(kind, name)), function


@pytest.mark.parametrize(("kind", "name", "function"), METHODS, ids=METHOD_IDS)
def test_every_public_method_is_fully_annotated(kind: type, name: str, function: Callable[..., Any]) -> None:
    """Each parameter and the result."""
    parameters = list(inspect.signature(function).parameters.values())
    hints = inspect.get_annotations(function)
    missing = [each.name for each in parameters if each.name not in ("self", "cls") and each.name not in hints]
    assert missing == []
    assert "return" in hints


@pytest.mark.parametrize("function", [connect, make_tls_context])
def test_functions_have_hints_that_resolve(function: Callable[..., Any]) -> None:
    """`typing.get_type_hints` works on them, as documentation tools and runtime checkers expect."""
    hints = typing.get_type_hints(function)
    assert set(hints) == {*inspect.signature(function).parameters, "return"}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_is_a_socket_error_with_the_reference_text(error: type[cfcat.SocketError]) -> None:
    """`message` is the reference's text; `str()` adds the detail."""
    assert issubclass(error, cfcat.SocketError)
    fields = inspect.signature(error).parameters
    if list(fields)[:2] == ["message", "detail"]:
        made = error("text", "detail")
        assert (made.message, str(made)) == ("text", "text: detail")
        assert str(error("text")) == "text"


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (cfcat.AddressError, [ValueError]),
        (cfcat.OptionsError, [ValueError]),
        (cfcat.CaFileError, [cfcat.OptionsError]),
        (cfcat.ConnectError, [ConnectionError]),
        (cfcat.ResolveError, [cfcat.ConnectError]),
        (cfcat.BlockedError, [cfcat.ConnectError]),
        (cfcat.ConnectTimeout, [cfcat.ConnectError, TimeoutError]),
        (cfcat.LostError, [ConnectionError]),
        (cfcat.IncompleteReadError, [EOFError]),
        (cfcat.LimitError, [ValueError]),
        (cfcat.CertificateError, [cfcat.TlsError]),
        (cfcat.TruncatedError, [cfcat.TlsError]),
        (cfcat.UpgradeError, [cfcat.TlsError]),
        (cfcat.InjectionError, [cfcat.UpgradeError]),
    ],
)
def test_errors_inherit_the_builtin_that_callers_catch(error: type, bases: list[type]) -> None:
    """`except TimeoutError` and `except ConnectionError` work."""
    for base in bases:
        assert issubclass(error, base)


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (connect, "(address, options=None, **changes)"),
        (Socket.close, "(self)"),
        (Socket.abort, "(self)"),
        (Socket.start_tls, "(self, expected_server_hostname=None)"),
        (readable.ReadableStream.get_reader, "(self, mode=None)"),
        (readable.ReadableStream.cancel, "(self, reason=None)"),
        (readable.ReadableStream.pipe_to, "(self, writable)"),
        (readable.ReadableStreamReader.read, "(self)"),
        (readable.ReadableStreamReader.read_exactly, "(self, count)"),
        (readable.ReadableStreamReader.read_at_least, "(self, count)"),
        (readable.ReadableStreamReader.read_until, "(self, separator=b'\\n')"),
        (readable.ReadableStreamBYOBReader.read_into, "(self, buffer)"),
        (readable.ReadableStreamReader.cancel, "(self, reason=None)"),
        (readable.ReadableStreamReader.release_lock, "(self)"),
        (writable.WritableStream.get_writer, "(self)"),
        (writable.WritableStream.close, "(self)"),
        (writable.WritableStream.abort, "(self, reason=None)"),
        (writable.WritableStreamWriter.write, "(self, chunk)"),
        (writable.WritableStreamWriter.close, "(self)"),
        (writable.WritableStreamWriter.abort, "(self, reason=None)"),
        (writable.WritableStreamWriter.release_lock, "(self)"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_calls_are_spelt_as_documented(function: Callable[..., Any], signature: str) -> None:
    """The JavaScript API's, in snake_case; what is ours beyond that is given by name, and may be left out."""
    parameters = inspect.signature(function).parameters.values()
    ours = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    assert all(each.default is not inspect.Parameter.empty for each in ours)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters if each not in ours]
    assert str(inspect.Signature(bare)) == signature


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Socket, ["opened", "closed", "upgraded", "secure_transport"]),
        (readable.ReadableStream, ["locked"]),
        (readable.ReadableStreamReader, ["closed"]),
        (writable.WritableStream, ["locked"]),
        (writable.WritableStreamWriter, ["closed", "ready", "desired_size"]),
    ],
)
def test_properties_are_read_only(kind: type, names: list[str]) -> None:
    """As they are in JavaScript."""
    for name in names:
        member = inspect.getattr_static(kind, name)
        assert isinstance(member, property)
        assert member.fset is None


# --------------------------------------------------------------------------------------------- the example


async def test_the_example_of_the_documentation_runs(certs: CertSet) -> None:
    """Connect, look at both ends, say something, read the go-ahead, upgrade, close."""

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n") == b"EHLO me\r\n"
        conn.send(b"220 go\r\n")
        conn.start_tls(certs.server_context())
        assert conn.recv_until_eof() == b""
        assert conn.ended == "close_notify"

    with serve(script) as server:
        socket = connect(
            f"localhost:{server.port}",
            secure_transport="starttls",
            allow_half_open=False,
            address_family="ipv4",
            tls=make_tls_context(cacert=certs.ca),
        )
        info = await socket.opened
        assert info == SocketInfo(server.address, info.local_address)
        writer = socket.writable.get_writer()
        await writer.write(b"EHLO me\r\n")
        writer.release_lock()
        async for chunk in socket.readable:
            assert chunk == b"220 go\r\n"
            break
        secure = socket.start_tls()
        await secure.opened
        await secure.close()
        await secure.closed


async def test_the_example_of_the_module_runs() -> None:
    """`async with`, a writer, `async for`."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"\r\n"
        conn.send(b"iWelcome\r\n.\r\n")

    with serve(script) as server:
        async with connect(server.address) as socket:
            writer = socket.writable.get_writer()
            await writer.write(b"\r\n")
            await writer.close()
            assert b"".join([chunk async for chunk in socket.readable]) == b"iWelcome\r\n.\r\n"


async def test_connect_takes_an_address_and_options_in_each_of_their_forms() -> None:
    """A string or a record; a dataclass, a mapping, keywords, or two of these."""
    with serve(Peer.recv_until_eof) as server:
        sockets = [
            connect(server.address),
            connect(SocketAddress("127.0.0.1", server.port)),
            connect(server.address, SocketOptions(allow_half_open=True)),
            connect(server.address, {"allow_half_open": True}),
            connect(server.address, {"allow_half_open": True}, high_water_mark=5),
            connect(server.address, allow_half_open=True),
        ]
        await asyncio.gather(*(socket.opened for socket in sockets))
        await asyncio.gather(*(socket.close() for socket in sockets))
    assert server.connections == len(sockets)
