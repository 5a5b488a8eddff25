"""A session: lines and commands go in, a `Face` shows what comes out.

It holds the current connection: `reaching` makes it, and `keeping` writes down what happens. Text is sent as it is with
the line ending, everything else is a command (`actions`). The session must not know about terminals and scripts: those
are its faces.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cfcat.core.address import UNIX, parse_address
from cfcat.core.lifecycle import Reading, Writing
from cfcat.core.options import SocketOptions
from cfcat.errors import CommandError, SocketError, StdoutError
from cfcat.protocols import PROFILES, profile_for
from cfcat.record.events import (
    Broke,
    Direction,
    Expected,
    Hidden,
    Moved,
    Moving,
    OurSideEnded,
    PeerEnded,
    Said,
    SpeaksTls,
    Stopped,
    TlsUp,
)
from cfcat.record.recording import Recorder
from cfcat.record.subscribers import Subscribers
from cfcat.record.words import plural
from cfcat.repl.actions import ACTIONS
from cfcat.repl.advice import explain_here, is_loopback, silent_note_here
from cfcat.repl.arguments import encode
from cfcat.repl.commands import Call, Line, parse
from cfcat.repl.connection import Connection
from cfcat.repl.face import Face, PromptState
from cfcat.repl.keeping import Keeping
from cfcat.repl.reaching import ChooseProxy, Reaching
from cfcat.repl.settings import EOLS, Settings
from cfcat.repl.typed_secrets import TypedSecrets
from cfcat.repl.variables import Variables
from cfcat.report.messages import Message
from cfcat.report.notes import ignored_note
from cfcat.report.render import escape

if TYPE_CHECKING:
    from cfcat.core.clients import Clients

__all__ = ["Face", "PromptState", "Session"]


class Session:
    """One user's connections, one after the other.

    States: `connection` is None before the first one and while `:open` replaces it; then it is connecting, open, half
    closed or closed, which its socket knows and `prompt_state` tells. A connection that has ended stays until the next
    `:open`, for `:info`, `:expect` and the like. `over`: the user has asked to leave; the face calls `shut()` then.

    Invariants: one line is executed at a time, and a second `execute()` waits for the first. A line that raises
    CommandError while it is parsed sends nothing. `events` are told of everything from the first connection on;
    `keeping` records it for an export and for transcripts. Options and settings are replaced, never changed: the
    request that the session began with stays as it was.

    Who calls what: a face makes it inside a running event loop, calls `open()`, `execute()` and `end()`, and `shut()`
    in any case; it reads the properties for its prompt. The functions in `actions` call what commands do. The
    connection calls the `on_…` methods, in the order in which things happen.

    `last_was_secret`: did the line that was executed last carry a secret, so that it must not be stored?
    `wait_s`: `open()` tries for so long to connect; None: once. `variables`: what `${NAME}` may stand for.
    """

    def __init__(
        self,
        target: str,
        options: SocketOptions,
        face: Face,
        settings: Settings,
        *,
        events: Subscribers | None = None,
        recorder: Recorder | None = None,
        clients: Clients | None = None,
        choose_proxy: ChooseProxy | None = None,
        wait_s: float | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.target = target
        self._variables = Variables(variables or {}, os.environ)
        self._wait_s = wait_s
        self.events = events or Subscribers()
        self.options = options._replace(trace=self.events.tell)
        self.face = face
        self.settings = settings
        self.over = False
        self.last_was_secret = False
        self.connection: Connection | None = None
        self.reaching = Reaching(self, clients, choose_proxy)
        self.keeping = Keeping(self.events, recorder or Recorder(), self.notice, log_secrets=settings.log_secrets)
        self._secrets = TypedSecrets()
        self._has_told_of_names = False
        self._turn = asyncio.Lock()

    # ---- what the faces ask

    @property
    def prompt_state(self) -> PromptState:
        """What the prompt is made of, asked of the socket each time."""
        tls = "" if not self.tls_version else "tls!" if self.settings.insecure else "tls"
        return PromptState(self._peer, tls, self._marks())

    @property
    def _peer(self) -> str:
        """What the prompt calls the other end."""
        if not self.reaching.listens or self.connection is None:
            return self.target
        return f"from {self.connection.socket.peer}"

    def _marks(self) -> tuple[str, ...]:
        if self.connection is None:
            return ("closed",)
        socket = self.connection.socket
        receives, sends = socket.reading is Reading.FLOWING, socket.writing is Writing.FLOWING
        if receives:
            return () if sends else ("send-closed",)
        return ("recv-closed",) if sends else ("closed",)

    @property
    def is_closed(self) -> bool:
        """Is there no connection, or none that could send or receive?"""
        return self._marks() == ("closed",)

    @property
    def sent_bytes(self) -> int:
        """Bytes for the peer on this connection, the dialog of `:starttls` among them; TLS records do not count."""
        return 0 if self.connection is None else self.connection.sent_bytes

    @property
    def received_bytes(self) -> int:
        """Bytes from the peer on this connection, counted like the sent ones."""
        return 0 if self.connection is None else self.connection.received_bytes

    @property
    def moved_bytes(self) -> int:
        """Bytes on the wire of this connection, both ways: unchanged means that nothing moves."""
        return 0 if self.connection is None else self.connection.socket.moved_bytes

    @property
    def tls_version(self) -> str:
        """The version of TLS in use, "TLSv1.3" or so; "" in clear text."""
        info = None if self.connection is None else self.connection.socket.tls_info
        return "" if info is None else info.version

    @property
    def hides_input(self) -> bool:
        """Is what is typed now not to be shown, because the peer has asked for a password (SEC-R29)?"""
        return self._secrets.hides_input

    @property
    def view(self) -> str:
        """How received bytes are to be drawn: "text", "hex" or "raw"."""
        return self.settings.view

    @property
    def eol(self) -> str:
        """The name of what Enter sends: "crlf", "lf", "cr" or "none"."""
        return self.settings.eol

    @property
    def line_end(self) -> bytes:
        """What is sent behind a line."""
        return EOLS[self.eol]

    @property
    def protocol(self) -> str | None:
        """Whose verbs and secrets count, a name of PROFILES; None: nobody knows.

        As set; else as spoken in the dialog of an upgrade, or as the port is known for.
        """
        if self.settings.proto != "auto":
            return self.settings.proto
        spoken = None if self.connection is None else self.connection.spoken
        return spoken if spoken in PROFILES else profile_for(self._port)

    @property
    def _port(self) -> int:
        return 0 if self.target.startswith(UNIX) else parse_address(self.target).port

    @property
    def banner(self) -> str:
        """What an interactive session begins with, once it is open."""
        if self.reaching.listens:
            return f"accepted {self.need_connection().socket.peer}; :help lists commands, Ctrl-D ends"
        return f"connected to {self.reached}; :help lists commands, Ctrl-D ends"

    @property
    def reached(self) -> str:
        """Where the connection goes: an address, or through a proxy what it was asked for."""
        if self.connection is None or self.options.via is not None:
            return self.target
        return self.connection.remote_address

    def explain(self, error: BaseException) -> Message:
        """An error, as it is told in a session: hints can be typed there."""
        accepted = self.connection if self.reaching.listens else None
        return explain_here(error, self.target if accepted is None else accepted.socket.peer)

    def notice(self, text: str) -> None:
        """Show what has no event of its own: as `Face.show_notice`, and told as an event."""
        self.events.tell(Said(text))
        self.face.show_notice(text)

    def show_failure(self, error: SocketError) -> None:
        """Show what went wrong, as `Face.show_error`, and told as an event; it ends nothing."""
        message = self.explain(error)
        self.events.tell(Said(message.text))
        self.face.show_error(message)

    def show_text(self, text: str) -> None:
        """As `Face.show_text`, and told as an event."""
        self.events.tell(Said(text))
        self.face.show_text(text)

    # ---- what the faces do

    async def open(self) -> None:
        """Connect to the target, and begin the transcript where one was asked for.

        Raises:
            SocketError: as `Socket.opened`, and as `--starttls` where the settings name a protocol.
            StdoutError: the transcript cannot be written.
        """
        self.events.tell(Moving(self))
        if self.settings.log is not None:
            try:
                self.log_to(self.settings.log)
            except CommandError as error:
                raise StdoutError(error.message) from error
        await self.reaching.connect(self._wait_s)

    async def execute(self, line: str) -> None:
        """Do what one line says. Cancelling it cancels what it does, and leaves the session as it is.

        `line` has no line end; bytes that were no UTF-8 are in it as surrogates (`surrogateescape`).

        Raises:
            CommandError: the line makes no sense, or cannot be done; nothing was sent.
            SocketError: what it was about failed.
        """
        # Judged before anything can fail: what is not sent may be a secret all the same (SEC-R26).
        self.last_was_secret = self._secrets.are_in(line)
        wanted = parse(line)
        async with self._turn:
            if self.settings.expand == "on":
                wanted = self._variables.expand_line(wanted)
                self.last_was_secret |= self._secrets.are_in(wanted.line)
            elif not self._has_told_of_names:
                self._tell_of_names(wanted)
            if isinstance(wanted, Line):
                await self.send(encode(wanted.text, self.settings.encoding) + self.line_end)
            else:
                await ACTIONS[wanted.command.name](self, wanted.argument)
        self.face.state_changed()

    def _tell_of_names(self, wanted: Line | Call) -> None:
        """Say once that the name of a value stays as it is: a script's author may have forgotten to turn it on."""
        if wanted.line.startswith(":#") or (name := self._variables.known(wanted.line)) is None:
            return
        self._has_told_of_names = True
        self.notice(f"${{{escape(name)}}} is taken as it is; :set expand on puts in its value")

    async def end(self) -> None:
        """Ctrl-D: end our side; where that is done, leave."""
        if self.connection is None or self.connection.socket.writing is not Writing.FLOWING:
            self.over = True
        else:
            await self.execute(":eof")

    async def shut(self) -> None:
        """Leave: close in order, for as long as the peer takes what is queued, and close the transcript."""
        try:
            if self.connection is not None:
                with contextlib.suppress(SocketError):
                    await self.connection.close()
        finally:
            self.reaching.close()
            self.events.tell(Stopped(self.sent_bytes, self.received_bytes))
            self.keeping.close()

    # ---- what the commands do

    def need_connection(self) -> Connection:
        """The connection, open or ended. Raises CommandError where there never was one."""
        if self.connection is None:
            raise CommandError("there is no connection", ":open connects")
        return self.connection

    def need_direct(self) -> None:
        """Raises CommandError where this machine does not connect to the target itself."""
        if self.options.via is not None:
            raise CommandError("the session goes through a proxy: a Worker would connect from elsewhere")

    def set(self, name: str, value: str) -> None:
        """Change a setting; a name and a value of SETTINGS. Raises CommandError where it cannot be."""
        if name == "workers" and value == "on":
            self.need_direct()
        self.settings = self.settings.changed(name, value)
        if name == "proto":
            self.follow_protocol()
        self._has_told_of_names |= name == "expand"

    async def send(self, data: bytes) -> None:
        """Send; a secret that would go out in clear text over a network only after a yes.

        Raises:
            CommandError: the connection cannot be sent on, or nobody said yes.
            LostError: it broke.
        """
        connection = self.need_connection()
        connection.need_writing()
        judged = self._secrets.judge(data)
        if judged.is_secret:
            self.last_was_secret = True
            await self._ask_for_secret(connection)
        self._secrets.sent(judged)
        await connection.send(data)

    async def send_secret(self, data: bytes) -> None:
        """Send a line that is a secret, whatever it looks like; otherwise as `send`."""
        connection = self.need_connection()
        connection.need_writing()
        self.last_was_secret = True
        await self._ask_for_secret(connection)
        self._secrets.sent(self._secrets.judge(data))
        self.events.tell(Hidden())
        await connection.send(data)

    async def send_part(self, data: bytes) -> None:
        """Send a part of a file: as `send`, but the line that names the file is no secret."""
        named = self.last_was_secret
        try:
            await self.send(data)
        finally:
            self.last_was_secret = named

    async def _ask_for_secret(self, connection: Connection) -> None:
        address = self.reached
        stays_here = self.options.via is None and is_loopback(address)  # a proxy here does not make the target local
        if self.settings.clear_secrets == "on" or connection.is_secure or stays_here:
            return
        if not await self.face.confirm(f"send a secret to {address} in clear text?"):
            raise CommandError(
                f"not sent: it carries a secret, in clear text to {address}", ":set clear-secrets on sends it unasked"
            )

    def follow_protocol(self) -> None:
        """Begin anew to look for secrets and replies: the connection, its protocol or its encryption is another one."""
        self._secrets.begin(self.protocol)
        if self.connection is not None:
            self.connection.memory.read_replies(self.protocol)

    def log_to(self, path: str | None) -> None:
        """Write the transcript to another file, or to none. Raises CommandError: it cannot be written."""
        self.keeping.log_to(path, self.target, "server" if self.reaching.listens else "client")

    def capture_to(self, path: str | None) -> None:
        """Capture the connections to come in this file; None: no longer. Raises CommandError: it cannot be written."""
        capture = self.keeping.capture_to(path, is_connected=self.connection is not None)
        self.options = self.options._replace(capture=capture)

    def note_match(self, pattern: bytes, groups: Mapping[str, bytes], *, is_reply: bool = False) -> None:
        """Tell that `:expect` or `:reply` has found what it waited for, with these groups."""
        encoding = self.settings.encoding
        self._variables.match({name: value.decode(encoding, "surrogateescape") for name, value in groups.items()})
        self.events.tell(Expected(pattern, is_reply))

    def note_tls(self) -> None:
        """Tell what a handshake came to."""
        connection = self.need_connection()
        info = connection.socket.tls_info
        if info is not None:
            self.events.tell(TlsUp(info.version, info.cipher, dialog=connection.spoken))

    # ---- what the connection tells

    def on_sent(self, data: bytes) -> None:
        self.events.tell(Moved("sent", data, self.need_connection().is_secure))

    async def on_received(self, data: bytes) -> None:
        self.events.tell(Moved("received", data, self.need_connection().is_secure))
        self._secrets.received(data)
        await self.face.show_received(data)

    def on_dialog(self, direction: Direction, data: bytes) -> None:
        self.reaching.heard(direction, data)

    def on_held(self, count: int) -> None:
        self.notice(
            f"the client begins TLS: {plural(count, 'byte')} held; :starttls takes them, a line lets them go as data"
        )

    def on_speaks_tls(self) -> None:
        self.events.tell(SpeaksTls())

    def on_sending_ended(self) -> None:
        self.events.tell(OurSideEnded(self.sent_bytes))

    def on_end(self, error: BaseException | None, told: bool) -> None:
        self.events.tell(PeerEnded(self.received_bytes) if error is None else Broke(error, *self.explain(error)))
        if error is not None and not told:
            self.face.show_error(self.explain(error))
        dialed_in_clear = not self.reaching.listens and not self.need_connection().is_secure
        if error is None and not self.received_bytes and dialed_in_clear:
            if text := silent_note_here(self.target):
                self.notice(text)
        if ignored := self.need_connection().socket.ignored_bytes:  # SEC-R9
            self.notice(ignored_note(ignored))
        self.face.state_changed()
