"""`-l`: notes about where the run listens, the server's TLS context, and files that are removed at the end.

Loaded by a run that listens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from cfcat.core.address import ANYWHERE, UNIX, is_ipv6, parse_address
from cfcat.core.clients import Clients
from cfcat.errors import AddressError, StdoutError, UsageError, reason_of
from cfcat.program.request import ListenRequest, Request, TlsRequest
from cfcat.record.events import Listening, NotAccepted, SpeaksTls
from cfcat.record.kept import Event
from cfcat.record.subscribers import Subscribers
from cfcat.report.render import escape

if TYPE_CHECKING:
    import ssl

__all__ = [
    "ListenNotes",
    "at_the_end",
    "can_be_certified",
    "make_clients",
    "private_file",
    "server_context",
    "write_authority",
]

Say = Callable[[str], object]
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SPEAKS_TLS_NOTE = "note: the client speaks TLS: -l --tls on accepts it"


def make_clients(request: Request, events: Subscribers, exits: contextlib.ExitStack) -> Clients:
    """Make the clients of a request that listens. Leaving `exits` stops listening, and removes a Unix socket's file."""
    assert request.listen is not None
    clients = Clients(request.listen.to, events)
    exits.enter_context(at_the_end(lambda _: clients.close()))
    return clients


class ListenNotes:
    """A subscriber that says where we listen, warns if that is not loopback, and notes a client that has to wait, or
    begins with TLS.

    `put` gets the line with the address, which scripts wait for, if `says_address`; `note` gets the warnings.
    """

    wants_bytes = False

    def __init__(self, put: Say, note: Say, *, says_address: bool) -> None:
        self._put = put
        self._note = note
        self._says_address = says_address
        self._told: tuple[str, ...] = ()

    def take(self, event: Event) -> None:
        if isinstance(event, Listening) and event.addresses != self._told:
            self._told = event.addresses
            if self._says_address:
                self._put(escape(event.text()))
            if not all(map(_is_local, event.addresses)):
                self._note("warning: not only this machine: anybody who reaches it can connect")
        elif isinstance(event, NotAccepted):
            self._note(f"warning: {event.reason}; the client has to wait")
        elif isinstance(event, SpeaksTls):
            self._note(SPEAKS_TLS_NOTE)


def _is_local(address: str) -> bool:
    if address.startswith(UNIX):
        return True
    host = parse_address(address).host
    return host == "::1" or host.startswith("127.")


def server_context(tls: TlsRequest, listen: ListenRequest, note: Say, exits: contextlib.ExitStack) -> ssl.SSLContext:
    """The context of a run that listens; the authority of a certificate made for it goes to a file.

    Raises:
        UsageError: a certificate is made, and cannot have a name of `--sni`.
        ClientCertificateError, CaFileError, OptionsError: as `make_server_context()`.
        StdoutError: the file of the authority cannot be written.
    """
    from cfcat.core.server_context import make_server_context  # lazy: ssl
    from cfcat.program.tls import log_keys_or_say, password_of

    ca_out = listen.ca_out
    is_private = tls.cert is None and ca_out is None
    try:
        if is_private:
            ca_out = exits.enter_context(private_file())
        context = make_server_context(
            cert=tls.cert,
            key=tls.key,
            password=password_of(tls),
            names=_names(listen) if tls.cert is None else (),
            ca_out=ca_out,
            client_ca=listen.client_ca,
            alpn=tls.alpn,
            tls_min=tls.tls_min,
            tls_max=tls.tls_max,
            ciphers=tls.ciphers,
        )
    except OSError as error:
        if type(error).__module__ != "builtins":
            raise
        what = "a temporary file for --ca-out" if ca_out is None else escape(ca_out)
        raise StdoutError(f"cannot write {what}", escape(reason_of(error))) from error
    if is_private and ca_out is not None:
        note(f"clients trust the certificate of this run with {escape(ca_out)} (curl, cfcat: --cacert)")
    log_keys_or_say(context, note)
    return context


def _names(listen: ListenRequest) -> list[str]:
    """What the certificate of this run is for, beside the local names: the host name and the address if they can be in
    one, and each `--sni`.

    Raises:
        UsageError: one of these cannot.
    """
    import socket  # lazy: only a certificate that is made has names

    host = listen.to.target.host.partition("%")[0]
    own = [] if host in ("", *ANYWHERE) else [host]
    asked = [name.removesuffix(".") for name in listen.names]
    for name in asked:
        if not can_be_certified(name.removeprefix("*.")):
            raise UsageError(f"--sni {escape(name)}: no certificate can have this name", "--cert FILE brings another")
    return [*filter(can_be_certified, (socket.gethostname(), *own)), *asked]


def can_be_certified(name: str) -> bool:
    """Can a certificate be for this name or address?"""
    if is_ipv6(name):
        return True
    with contextlib.suppress(AddressError):
        return bool(parse_address(f"{name}:1").host) and "_" not in name
    return False


@contextlib.contextmanager
def private_file() -> Iterator[str]:
    """The path of a file for the certificate of an authority; it is removed when the block ends, or at a signal."""
    descriptor, path = tempfile.mkstemp(prefix="cfcat-ca-", suffix=".pem")
    os.close(descriptor)
    with at_the_end(lambda _: os.unlink(path)):
        yield path


def write_authority(pem: bytes, ca_out: str | None, exits: contextlib.ExitStack) -> str:
    """Write the certificate of a run's authority, to a private file where none is given; returns the file's path.

    Raises:
        StdoutError: the file cannot be written.
    """
    what = "a temporary file for --ca-out" if ca_out is None else escape(ca_out)
    try:
        path = exits.enter_context(private_file()) if ca_out is None else ca_out
        with open(path, "wb") as file:
            file.write(pem)
    except OSError as error:
        raise StdoutError(f"cannot write {what}", escape(reason_of(error))) from error
    return path


@contextlib.contextmanager
def at_the_end(clean: Callable[[int], object]) -> Iterator[None]:
    """Do this when the block ends (0), or when a signal ends the process (its number): then the process dies of the
    signal as before.
    """

    def end(number: int, frame: FrameType | None) -> None:
        _try(clean, number)
        before = handlers[number]
        if callable(before):
            before(number, frame)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in ENDING}
    ours = [number for number, before in handlers.items() if before is signal.SIG_DFL or callable(before)]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        _try(clean, 0)
        for number in ours:
            signal.signal(number, handlers[number])


def _try(clean: Callable[[int], object], number: int) -> None:
    with contextlib.suppress(OSError):
        clean(number)
