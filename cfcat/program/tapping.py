"""`--tap`: from what is asked for to an exit status. Contexts, the display, a reporter and a journal a connection.

Loaded by a tap. What one connection does is in `tap/`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cfcat.core.address import ANYWHERE, without_zone
from cfcat.core.choices import SecureTransport
from cfcat.core.context import log_keys
from cfcat.core.loop import running_loop
from cfcat.core.options import SocketOptions, connecting
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket
from cfcat.edges.poll_loop import PollLoop
from cfcat.errors import TruncatedError
from cfcat.program.listening import ListenNotes, at_the_end, can_be_certified, write_authority
from cfcat.program.output import captured, end_events, open_events, open_transcript, say, tell_failure, writer
from cfcat.program.process import die_of_sigpipe
from cfcat.program.request import TapRequest
from cfcat.program.tls import client_context
from cfcat.record.events import Exited
from cfcat.record.journal import Journal, Writer
from cfcat.record.sides import ClientCame
from cfcat.record.subscribers import Subscriber, Subscribers
from cfcat.report.messages import explain, status_of
from cfcat.report.notes import log_note
from cfcat.report.render import escape
from cfcat.report.reporter import Reporter
from cfcat.report.run_report import RunReport
from cfcat.report.status import ExitStatus
from cfcat.tap.display import Display
from cfcat.tap.relay import Relay, TapTls
from cfcat.tap.run import run_tap
from cfcat.tap.show import DataConnections, Dump, Late, Logged, Shown

if TYPE_CHECKING:
    import ssl

    from cfcat.record.stream import EventFile

__all__ = ["perform_tap"]

Key = TypeVar("Key")
MOST_CONTEXTS = 64  # clients choose names and protocols: forget what so many others have come after
TRUST = "clients trust the certificates of this run with"
WAYS_TO_TRUST = "(--cacert, SSL_CERT_FILE, PGSSLROOTCERT, NODE_EXTRA_CA_CERTS)"


def perform_tap(asked: TapRequest) -> int:
    """Carry it out; returns the exit status, or dies of SIGPIPE. What goes wrong has been told then."""
    reporter = None  # of what belongs to no connection, where events are asked for
    note: Callable[[str], None] = say
    events = None
    try:
        events = open_events(asked.output)
        if events is not None:
            reporter = _reporter(asked, 0, [_stream(asked, events, 0)])
            note = reporter.note
        status = PollLoop().run(_perform(asked, reporter, events))
        end_events(events, note, status=status)
    except BrokenPipeError:
        if reporter is not None:
            reporter.events.tell(Exited(128 + signal.SIGPIPE))
        die_of_sigpipe()
    except Exception as error:
        end_events(events, note, error=error)
        return tell_failure(error, asked.listen.target.text, reporter, output=asked.output)
    if reporter is not None:
        reporter.events.tell(Exited(status))
    return status


async def _perform(asked: TapRequest, reporter: Reporter | None, events: EventFile | None) -> int:
    with contextlib.ExitStack() as exits:
        return await _Tap(asked, exits, reporter, events).run()


class _Tap:
    """What all connections of a tap have in common: contexts, display, transcript, events.

    `reporter`: of what belongs to no connection, as far as events are told of it.
    """

    def __init__(
        self, asked: TapRequest, exits: contextlib.ExitStack, reporter: Reporter | None, events: EventFile | None
    ) -> None:
        self._say: Callable[[str], None] = say if reporter is None else reporter.note
        self._told = Subscribers() if reporter is None else reporter.events
        self._events = events
        if asked.proxy is not None:
            from cfcat.program.proxies import Proxies  # lazy: most runs connect directly

            via = Proxies(asked.proxy, self._say).choose(asked.target, tls=asked.sides.server == "on")
            asked = asked._replace(options=asked.options._replace(via=via))
        capture = exits.enter_context(captured(asked.output, self._say))
        asked = asked._replace(options=asked.options._replace(capture=capture))
        self._asked = asked
        self._contexts = None if _is_clear(asked.sides) else Contexts(asked, exits, self._say)
        self._transcript = open_transcript(asked.output, asked.target.text, asked.tls.alpn, "tap")
        self._display = None if asked.quiet else Display(running_loop())
        self._open: dict[Reporter, list[Journal]] = {}  # of the connections that there are
        exits.callback(self._close)
        exits.enter_context(at_the_end(self._end_all))

    async def run(self) -> int:
        """Serve clients; returns the status of the one connection of `--once`."""
        asked = self._asked
        on_stderr = asked.listen.target.port == 0 or asked.output.verbose > 0 or os.isatty(2)
        says_address = on_stderr and asked.output.events != "-"  # where an event says it
        self._told.add(ListenNotes(say, self._say, says_address=says_address))
        status = await run_tap(
            asked.listen,
            SocketOptions(
                secure_transport="starttls",
                allow_half_open=True,
                connect_timeout=asked.options.connect_timeout,
                capture=asked.options.capture,
            ),
            self._told,
            self._connection,
            once=asked.once,
            stop=Promise(running_loop()) if self._display is None else self._display.failed,
            trouble=lambda error: self._say(f"{error.message}; trying again"),
        )
        if self._display is not None:
            await self._display.finish()
        return status

    async def _connection(self, number: int, client: Socket) -> int:
        """Relay one connection; returns its exit status. What goes wrong has been told then."""
        asked = self._asked
        journals, others = self._watchers(number)
        reporter = _reporter(asked, number, [*journals, *others])
        events = reporter.events
        events.tell(ClientCame(*client.ends))
        events.tell(connecting(asked.target.text, _dialed(asked), None))
        self._open[reporter] = journals
        try:
            await self._relay(client, reporter)
        except BrokenPipeError:
            raise
        except Exception as error:
            if not (asked.options.ignore_unexpected_eof and isinstance(error, TruncatedError)):
                status = status_of(error)
                reporter.finish(error, status, explain(error, getattr(error, "client", "") or asked.target.text))
                return status
        reporter.finish(None, ExitStatus.OK)
        return ExitStatus.OK

    async def _relay(self, client: Socket, reporter: Reporter) -> None:
        """As `Relay.run()`; what was held back has been written then."""
        asked = self._asked
        slowed = None if self._display is None else self._display.slowed
        relay = Relay(client, asked.target, asked.options, asked.sides, self._contexts, reporter.events, slowed=slowed)
        try:
            await relay.run()
        finally:
            for journal in self._open.pop(reporter):
                journal.flush()

    def _watchers(self, number: int) -> tuple[list[Journal], list[Subscriber]]:
        """Who writes down what a connection does: display and transcript."""
        output = self._asked.output
        writers: list[Writer] = []
        others: list[Subscriber] = []
        color = self._display is not None and output.colored(1)
        if self._transcript is not None:
            writers.append(Logged(self._transcript, number))  # first: what was seen has been kept
        if self._display is not None and output.hexdump:
            others.append(Dump(self._display, number, color=color))
        elif self._display is not None:
            writers.append(Shown(self._display, number, color=color))
        journals = [Journal(*writers, masks=not output.log_secrets)] if writers else []
        if self._display is not None:
            others += [Late(journal) for journal in journals]
            others.append(DataConnections(lambda text: self._say(f"#{number} {text}")))
        if self._events is not None:
            others.append(_stream(self._asked, self._events, number))
        return journals, others

    def _end_all(self, signal: int) -> None:
        """At a signal: keep what was held back, and report the connections that it ends."""
        for reporter, journals in self._open.items() if signal else ():
            for journal in journals:
                journal.flush()
            reporter.finish(None, 128 + signal)

    def _close(self) -> None:
        if self._display is not None:
            self._display.close()
        if self._transcript is not None:
            self._transcript.close()
            if self._transcript.problem:
                self._say(log_note(self._transcript.problem))


def _reporter(asked: TapRequest, number: int, others: Sequence[Subscriber]) -> Reporter:
    """The reporter of one connection: `-v` and `--json`. 0: of what belongs to none."""
    output = asked.output
    return Reporter(
        RunReport(asked.target.text, "tap", asked.sides.server == "on", connection=number or None),
        writer(output),
        verbose=output.verbose,
        hexdump=output.verbose >= 3,
        json=output.json,
        color=output.colored(2),
        offered=asked.tls.alpn,
        label=f"#{number} " if number else "",
        others=others,
    )


def _stream(asked: TapRequest, events: EventFile, number: int) -> Subscriber:
    """The events of one connection; 0: of what belongs to none."""
    from cfcat.record.stream import Stream  # lazy: most taps have none

    return Stream(events, masks=not asked.output.log_secrets, connection=number)


def _is_clear(sides: TapTls) -> bool:
    """Has neither side TLS of ours?"""
    return sides.client == "off" and sides.server != "on"


def _dialed(asked: TapRequest) -> SocketOptions:
    """How the connection to the server is recorded."""
    modes: dict[str, SecureTransport] = {"on": "on", "off": "off", "follow": "starttls"}
    return asked.options._replace(secure_transport=modes[asked.sides.server])


class Contexts:
    """The TLS contexts of both sides. An authority of this run vouches for what clients see."""

    def __init__(self, asked: TapRequest, exits: contextlib.ExitStack, note: Callable[[str], None]) -> None:
        """Raises as `make_tls_context()`; StdoutError: the authority's file cannot be written."""
        self._asked = asked
        self._servers: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._clients: dict[tuple[str | None, str | None], ssl.SSLContext] = {}
        if asked.sides.server != "off":
            self._servers[asked.tls.alpn] = client_context(asked.tls, note)  # what is wrong with it is said now
        if asked.sides.client != "off":
            from cfcat.core.server_context import Authority  # lazy: cryptography

            self._authority = Authority()
            path = write_authority(self._authority.pem, asked.ca_out, exits)
            note(f"{TRUST} {escape(path)} {WAYS_TO_TRUST}")

    def for_server(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        """As `relay.Contexts`; `--alpn` takes the place of what the client offers."""
        offered = self._asked.tls.alpn or alpn
        return _remembered(
            self._servers, offered, lambda: client_context(self._asked.tls._replace(alpn=offered), lambda _: None)
        )

    def for_client(self, server_name: str | None, alpn: str | None) -> ssl.SSLContext:
        """As `relay.Contexts`: for this machine, the target, `--sni` and what the client asks for."""
        return _remembered(self._clients, (server_name, alpn), lambda: self._make_for_client(server_name, alpn))

    def _make_for_client(self, server_name: str | None, alpn: str | None) -> ssl.SSLContext:
        import socket  # lazy: a tap that ends TLS

        from cfcat.core.server_context import bare_server_context

        asked = self._asked
        hosts = socket.gethostname(), without_zone(asked.listen.target.host), without_zone(asked.target.host)
        wanted = [*hosts, asked.options.expected_server_hostname, server_name]
        names = [name.rstrip(".") for name in wanted if name and name not in ANYWHERE]
        context = bare_server_context(alpn=() if alpn is None else (alpn,))
        self._authority.certify(context, list(filter(can_be_certified, names)))
        log_keys(context)
        return context


def _remembered(made: dict[Key, ssl.SSLContext], key: Key, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    if key not in made:
        if len(made) >= MOST_CONTEXTS:
            del made[next(iter(made))]
        made[key] = make()
    return made[key]
