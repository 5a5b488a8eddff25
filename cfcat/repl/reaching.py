"""How a session comes to a connection: it dials or accepts, once or for some time, and again at `:open`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cfcat.core.address import parse_address
from cfcat.core.options import SocketOptions, connecting
from cfcat.core.ready import keep_trying
from cfcat.core.sockets import connect
from cfcat.errors import CommandError, SocketError
from cfcat.protocols import PROTOCOLS
from cfcat.record.events import MARKS, Dialog, Direction, Failed, Opened
from cfcat.record.held import Attempts
from cfcat.record.subscribers import Subscribers
from cfcat.repl.advice import dialog_lines
from cfcat.repl.arguments import Reopening
from cfcat.repl.connection import Connection
from cfcat.repl.reopening import check_listening, with_tls
from cfcat.report.verdict import workers_policy

if TYPE_CHECKING:
    from cfcat.core.address import Target
    from cfcat.core.clients import Clients
    from cfcat.proxies.url import Proxy
    from cfcat.repl.session import Session

__all__ = ["ChooseProxy", "Reaching"]


class ChooseProxy(Protocol):
    """Tells which proxy a target is connected to through; None: none. `tls`: TLS begins with the first byte."""

    def __call__(self, target: Target, *, tls: bool) -> Proxy | None: ...


class _Dialog(NamedTuple):
    """The dialog of an attempt that may be made again: whom it tells, and the lines to be shown if it succeeds."""

    events: Subscribers
    lines: list[str]


class Reaching:
    """Makes the connections of one session, and sets `session.connection` to each.

    `clients`: whom the session accepts; None: it dials. `choose_proxy`: asked before each connection; None: the
    options have the proxy, for every target.
    """

    def __init__(self, session: Session, clients: Clients | None, choose_proxy: ChooseProxy | None) -> None:
        self._session = session
        self._clients = clients
        self._choose_proxy = choose_proxy
        self._dialog: _Dialog | None = None

    @property
    def listens(self) -> bool:
        """Does the session accept its connections?"""
        return self._clients is not None

    def close(self) -> None:
        """Accept nobody any more."""
        if self._clients is not None:
            self._clients.close()

    async def connect(self, wait_s: float | None = None) -> None:
        """Make a connection, and tell what it came to. `wait_s`: try for so long; None: once.

        Raises:
            SocketError: as `Connection.open`.
        """
        session = self._session
        if self._choose_proxy is not None:
            tls = session.options.secure_transport == "on"
            via = self._choose_proxy(parse_address(session.target), tls=tls)
            session.options = session.options._replace(via=via)
        if not self.listens:
            session.events.tell(connecting(session.target, session.options, self._dialog_first))
        if wait_s is None:
            await self._open_connection(session.events)
            session.need_connection().listen()
        else:
            await self._keep_trying(wait_s)
        session.follow_protocol()
        if not self.listens:
            session.events.tell(Opened(session.reached))
        session.note_tls()

    async def connect_again(self, wanted: Reopening) -> None:
        """Connect to the same target or to another; what is open is closed first.

        Raises:
            CommandError: what was asked for makes sense under TLS, or for dialing, only; the connection is as it was.
            SocketError: as `connect`.
        """
        session = self._session
        options = session.options if wanted.tls is None else session.options._replace(secure_transport=wanted.tls)
        if options.secure_transport == "off" and wanted.needs_tls:
            raise CommandError("there is no TLS that this would be about", ":open --tls on, or --starttls PROTO")
        if self.listens:
            check_listening(wanted, options)
        if session.connection is not None:
            try:
                await session.connection.close()
            except SocketError as error:
                session.show_failure(error)
            session.connection = None
        session.target = wanted.target or session.target
        session.options = with_tls(options, wanted, session.notice)
        session.settings = dataclasses.replace(
            session.settings,
            starttls=wanted.starttls or session.settings.starttls,
            insecure=wanted.insecure or (session.settings.insecure and wanted.cacert is None),
        )
        await self.connect()
        verb = "accepted" if self.listens else "connected to"
        session.face.show_notice(f"{verb} {session.need_connection().socket.peer}")

    @property
    def _dialog_first(self) -> str | None:
        """The protocol whose dialog comes before a session's first line."""
        session = self._session
        return session.settings.starttls if session.options.secure_transport == "starttls" else None

    async def _keep_trying(self, wait_s: float) -> None:
        session = self._session
        attempts = Attempts(session.events)

        async def attempt() -> None:
            self._dialog = _Dialog(attempts.begin(), [])
            await self._open_connection(self._dialog.events, stays=True)
            attempts.succeeded()
            if self._dialog.lines:
                session.face.show_notice("\n".join(self._dialog.lines))
            session.need_connection().listen()

        def failed(error: SocketError) -> None:
            attempts.failed(session.explain(error).text)

        try:
            await keep_trying(attempt, wait_s, session.target, failed=failed)
        except BaseException as error:
            attempts.gave_up()
            session.events.tell(Failed(session.explain(error).text))
            raise
        finally:
            self._dialog = None
            session.face.state_changed()

    async def _open_connection(self, events: Subscribers, *, stays: bool = False) -> None:
        """Make a connection, of which these are told; nothing is read yet. `stays`: it must not end at once."""
        session = self._session
        wanted = self._dialog_first
        options = self._options_now()._replace(trace=events.tell)
        socket = connect(session.target, options) if self._clients is None else await self._clients.next(options)
        session.connection = Connection(socket, session.target, options, session, helo=session.settings.helo)
        session.face.state_changed()
        try:
            await session.connection.open(None if wanted is None else PROTOCOLS[wanted], stays=stays)
        except BaseException as error:
            if isinstance(error, SocketError) and socket.accepted:
                error.client = socket.peer
            if not stays:
                session.events.tell(Failed(session.explain(error).text))
            raise
        finally:
            session.face.state_changed()

    def _options_now(self) -> SocketOptions:
        session = self._session
        if session.settings.workers == "off":
            return session.options
        return session.options._replace(policy=workers_policy(session.notice))

    def heard(self, direction: Direction, data: bytes) -> None:
        """Tell and show a piece of a STARTTLS dialog; of an attempt, show it only if that succeeds."""
        lines = [f"{MARKS[direction]} {line}" for line in dialog_lines(data)]
        if self._dialog is None:
            self._session.events.tell(Dialog(direction, data))
            self._session.face.show_notice("\n".join(lines))
        else:
            self._dialog.events.tell(Dialog(direction, data))
            self._dialog.lines.extend(lines)
