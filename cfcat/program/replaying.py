"""`--replay`: from what is asked for to an exit status, as the client of a server or as the server of clients.

Loaded by a replay. What one connection does is in `replaying/`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from cfcat.core.loop import running_loop
from cfcat.core.options import connecting
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket, dial
from cfcat.edges.poll_loop import PollLoop
from cfcat.errors import ConnectTimeout
from cfcat.program.listening import ListenNotes, at_the_end, server_context
from cfcat.program.output import make_reporter, open_transcript, put, say, tell_failure
from cfcat.program.process import die_of_sigpipe
from cfcat.program.request import ListenRequest, ReplayRequest
from cfcat.program.tls import client_context
from cfcat.record.events import Accepted, Listening
from cfcat.record.journal import Journal
from cfcat.record.kept import Event
from cfcat.record.replaying import Recorded
from cfcat.record.subscribers import Subscribers
from cfcat.replaying.player import Player, Rules
from cfcat.replaying.reading import agreed_alpn, names_asked_for, open_recorded
from cfcat.replaying.server import accepting_options
from cfcat.report.messages import explain, status_of
from cfcat.report.notes import log_note
from cfcat.report.reporter import Reporter
from cfcat.report.run_report import RunReport
from cfcat.report.status import ExitStatus
from cfcat.tap.run import run_tap
from cfcat.tap.show import Logged

if TYPE_CHECKING:
    import ssl

__all__ = ["perform_replay"]


def perform_replay(asked: ReplayRequest) -> int:
    """Carry it out; returns the exit status. What goes wrong has been told then."""
    try:
        recorded = open_recorded(asked.transcript, asked.connection, "client" if asked.listen is None else "server")
    except Exception as error:
        return tell_failure(error, asked.target.text, output=asked.output)
    return _play_client(asked, recorded) if asked.listen is None else _play_server(asked, asked.listen, recorded)


def _rules(asked: ReplayRequest) -> Rules:
    return Rules(os.path.basename(asked.transcript), asked.ignored, asked.wait_s)


def _offered(asked: ReplayRequest, recorded: Recorded) -> tuple[str, ...]:
    """The ALPN protocols: `--alpn`, or the one that was agreed on, where the transcript says so."""
    return asked.tls.alpn or agreed_alpn(recorded)


# ---- as the client


def _play_client(asked: ReplayRequest, recorded: Recorded) -> int:
    target = asked.target.text
    reporter = None
    try:
        reporter = make_reporter(
            asked.output,
            target,
            "replay",
            handshake_next=recorded.begins_with_tls("server"),
            offered=_offered(asked, recorded),
        )
        PollLoop().run(_dial(asked, recorded, reporter))
    except BrokenPipeError:
        die_of_sigpipe()
    except Exception as error:
        return tell_failure(error, target, reporter, output=asked.output)
    if reporter is not None:
        reporter.finish(None, ExitStatus.OK)
    return ExitStatus.OK


async def _dial(asked: ReplayRequest, recorded: Recorded, reporter: Reporter | None) -> None:
    """Raises as `Socket.opened` and `Player.run`."""
    events = Subscribers() if reporter is None else reporter.events
    note = say if reporter is None else reporter.note
    options = asked.options
    has_tls = bool(recorded.tls_with("server"))
    begins = recorded.begins_with_tls("server")
    if has_tls:
        context = client_context(asked.tls._replace(alpn=_offered(asked, recorded)), note)
        options = options._replace(secure_transport="on" if begins else "starttls", tls=context)
    if asked.proxy is not None:
        from cfcat.program.proxies import Proxies  # lazy: most runs connect directly

        options = options._replace(via=Proxies(asked.proxy, note).choose(asked.target, tls=begins))
    events.tell(connecting(asked.target.text, options, None))
    options = options._replace(trace=events.trace)
    socket = dial(asked.target, options, relays=True)
    try:
        await socket.opened
    except BaseException:
        socket.abort()
        raise
    handshake_s = options.connect_timeout or asked.wait_s
    await Player(socket, recorded, "client", _rules(asked), events, None, handshake_s=handshake_s).run()


# ---- as the server


def _play_server(asked: ReplayRequest, listen: ListenRequest, recorded: Recorded) -> int:
    try:
        with contextlib.ExitStack() as exits:
            server = _Server(asked, listen, recorded, exits)
            return PollLoop().run(server.run())
    except BrokenPipeError:
        die_of_sigpipe()
    except Exception as error:
        return tell_failure(error, asked.target.text, output=asked.output)


class _Server:
    """What all clients have in common: the recording, the context, the transcript."""

    def __init__(
        self, asked: ReplayRequest, listen: ListenRequest, recorded: Recorded, exits: contextlib.ExitStack
    ) -> None:
        """Raises as `server_context` and `open_transcript`."""
        self._asked = asked
        self._listen = listen
        self._recorded = recorded
        self._transcript = open_transcript(asked.output, asked.target.text, asked.tls.alpn, "server")
        exits.callback(self._close)
        self._context: ssl.SSLContext | None = None
        if recorded.tls_with("client"):
            names = (*listen.names, *names_asked_for(recorded))
            tls = asked.tls._replace(alpn=_offered(asked, recorded))
            self._context = server_context(tls, listen._replace(names=names), say, exits)
        self._listening: Listening | None = None
        self._stop: Promise[None]
        self._journals: set[Journal] = set()
        exits.enter_context(at_the_end(lambda _: self._flush()))

    @property
    def wants_bytes(self) -> bool:
        """As `Subscriber.wants_bytes`."""
        return False

    def take(self, event: Event) -> None:
        """As `Subscriber.take`, of where we listen."""
        if isinstance(event, Listening):
            self._listening = event

    async def run(self) -> int:
        """Serve the client, or with --keep each of them; returns the status of the one."""
        to, output = self._listen.to, self._asked.output
        says_address = to.target.port == 0 or output.verbose > 0 or os.isatty(2)
        loop = running_loop()
        self._stop = Promise(loop)
        late = f"{to.target.text}: no client came within {to.wait_s or 0:g} s"
        timer = None if to.wait_s is None else loop.call_later(to.wait_s, self._stop.reject, ConnectTimeout(late, late))

        async def connection(number: int, client: Socket) -> int:
            if timer is not None:
                timer.cancel()
            return await self._connection(number if to.keep else 0, client)

        return await run_tap(
            to,
            accepting_options(self._asked.options.connect_timeout or self._asked.wait_s)._replace(
                address_family=self._asked.options.address_family
            ),
            Subscribers([self, ListenNotes(say, say, says_address=says_address)]),
            connection,
            once=not to.keep,
            stop=self._stop,
            trouble=lambda error: say(f"{error.message}; trying again"),
        )

    async def _connection(self, number: int, client: Socket) -> int:
        """Play it to one client; returns the exit status. What goes wrong has been told then."""
        asked = self._asked
        reporter, journal = self._reporter(number)
        events = reporter.events
        if self._listening is not None:
            events.tell(self._listening)
        events.tell(Accepted(*client.ends))
        handshake_s = asked.options.connect_timeout or asked.wait_s
        player = Player(client, self._recorded, "server", _rules(asked), events, self._context, handshake_s=handshake_s)
        if journal is not None:
            self._journals.add(journal)
        try:
            await player.run()
        except Exception as error:
            status = status_of(error)
            reporter.finish(error, status, explain(error, client.peer or asked.target.text))
            return status
        finally:
            if journal is not None:
                journal.flush()
                self._journals.discard(journal)
        reporter.finish(None, ExitStatus.OK)
        return ExitStatus.OK

    def _reporter(self, number: int) -> tuple[Reporter, Journal | None]:
        output = self._asked.output
        journal = None
        if self._transcript is not None:
            journal = Journal(Logged(self._transcript, number), masks=not output.log_secrets)
        begins = self._recorded.begins_with_tls("client")
        reporter = Reporter(
            RunReport(self._asked.target.text, "replay", begins),
            put,
            verbose=output.verbose,
            hexdump=output.wants_hexdump,
            json=output.json,
            color=output.colored(2),
            offered=self._asked.tls.alpn,
            label=f"#{number} " if number else "",
            others=[] if journal is None else [journal],
        )
        return reporter, journal

    def _flush(self) -> None:
        """At a signal: keep what was held back."""
        for journal in self._journals:
            journal.flush()

    def _close(self) -> None:
        if self._transcript is not None:
            self._transcript.close()
            if self._transcript.problem:
                say(log_note(self._transcript.problem))
