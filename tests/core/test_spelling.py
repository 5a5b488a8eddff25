"""Names of Workers, of asyncio's streams and of Python's sockets: the error says how they are spelt here."""

from __future__ import annotations

import re

import pytest

import cfcat
from cfcat import SocketAddress, SocketOptions, connect, listen
from cfcat.core import readable, writable
from cfcat.core.spelling import OPTIONS, camel
from cfcat.errors import AddressError, WrongTypeError
from tests.helpers.peers import Peer, serve

CLASSES = {name: getattr(module, name) for module in (cfcat, readable, writable) for name in module.__all__}
ROWS = [
    (kind, name, str(what))
    for kind in CLASSES.values()
    if isinstance(kind, type)
    for name, what in vars(kind).items()
    if type(what).__name__ == "_Elsewhere"
]


def test_names_of_others_are_known() -> None:
    """Of Workers, asyncio and sockets."""
    assert {"startTls", "getReader", "readuntil", "sendall", "drain", "then"} <= {name for _, name, _ in ROWS}


@pytest.mark.parametrize(("kind", "name", "text"), ROWS, ids=lambda each: getattr(each, "__name__", each))
def test_a_name_of_others_is_none_of_ours_and_what_is_named_is_there(kind: type, name: str, text: str) -> None:
    """A method that the API gets one day has to take its place."""
    assert not hasattr(kind, name)
    known = {member for each in CLASSES.values() for member in dir(each)} | {"asyncio", "timeout"}
    words = re.findall(r"\b[a-z]+(?:_[a-z]+)+\b|\b[a-z]+(?=\(\))", text)
    assert known.issuperset(words)


async def test_a_name_of_others_is_not_offered() -> None:
    """`dir()` has what there is."""
    with serve(Peer.recv_until_eof) as server:
        async with connect(server.address) as socket:
            assert {"start_tls", "opened"} <= set(dir(socket))
            assert not {"startTls", "sendall"} & set(dir(socket))


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_others_is_none_of_ours(name: str) -> None:
    """As with the names of methods."""
    assert name not in SocketOptions._fields


def test_names_of_workers() -> None:
    """Each is the same in camel case."""
    assert [camel(name) for name in ("start_tls", "get_reader", "allow_half_open", "closed")] == [
        "startTls",
        "getReader",
        "allowHalfOpen",
        "closed",
    ]


async def test_a_name_that_there_is_not_is_an_error_that_names_ours() -> None:
    """Of the socket, its streams, their readers and writers, and promises; a slip stays Python's own error."""
    with serve(Peer.recv_until_eof) as server:
        async with connect(server.address) as socket:
            reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
            for thing, name, text in (
                (socket, "startTls", "'Socket' object has no attribute 'startTls'; in Python it is start_tls"),
                (socket.readable, "getReader", "has no attribute 'getReader'; in Python it is get_reader"),
                (reader, "readline", "no attribute 'readline'; here that is: read_until()"),
                (writer, "drain", "no attribute 'drain'; here that is: await write()"),
                (socket.opened, "then", "no attribute 'then'; here that is: await it, or add_done_callback()"),
                (socket, "opend", "'Socket' object has no attribute 'opend'"),
            ):
                with pytest.raises(AttributeError) as caught:
                    getattr(thing, name)
                assert str(caught.value).endswith(text)
                assert not hasattr(thing, name)


@pytest.mark.parametrize("call", [connect, listen])
async def test_an_address_of_another_form_is_answered_with_ours(call: object) -> None:
    """The reference's text comes first: host and port apart, a URL, a record of Workers."""
    assert callable(call)
    for address, text in (
        ("example.com", "Specified address is missing port: an address is 'host:port'"),
        ("example.com:http", "Specified address could not be parsed: an address is 'host:port'"),
        ("https://example.com/", "Specified address is missing port: an address is 'host:port', not a URL"),
    ):
        with pytest.raises(AddressError) as refused:
            call(address)
        assert str(refused.value) == text
    with pytest.raises(WrongTypeError) as wrong:
        call({"hostname": "example.com", "port": 443})
    assert str(wrong.value).endswith("an address is 'host:port' or SocketAddress(hostname, port), not dict")
    assert SocketAddress("example.com", 443) == SocketAddress(hostname="example.com", port=443)
