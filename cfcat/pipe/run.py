"""One run of pipe mode: connect or accept, pump, end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cfcat.core.codec import Buffer
from cfcat.core.job import Job
from cfcat.core.loop import running_loop
from cfcat.core.options import SocketOptions, connecting
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket, connect
from cfcat.core.waiting import settled
from cfcat.edges.descriptors import NOTHING, Callback
from cfcat.edges.stdin import no_input, open_input
from cfcat.edges.stdout import Output, open_output
from cfcat.errors import ProxyError, SocketError, StdinError, StdoutError
from cfcat.pipe.pump import Pump, PumpOptions
from cfcat.record.events import Dialog, Entered, Moving, Stopped
from cfcat.record.subscribers import Subscribers

if TYPE_CHECKING:
    from cfcat.core.clients import Clients
    from cfcat.protocols import Protocol
    from cfcat.report.render import TerminalFilter

__all__ = ["PipeEnd", "Upgrading", "open_socket", "run_accepted", "run_pipe"]

T = TypeVar("T")


class PipeEnd(NamedTuple):
    """What is worth a word about a run that ended in order, with this peer.

    `ignored_bytes` came behind the peer's end of TLS (SEC-R9). `is_silent`: nothing came, and it was all in clear text.
    """

    peer: str
    ignored_bytes: int
    is_silent: bool


class Upgrading(NamedTuple):
    """What comes before the application's bytes: the dialog of `protocol`, as client or as server; None: no dialog.

    `helo`: as for `open_upgraded`.
    """

    protocol: Protocol | None = None
    helo: str | None = None


NO_DIALOG = Upgrading()


async def run_pipe(
    target: str,
    options: SocketOptions,
    ends: PumpOptions,
    events: Subscribers,
    *,
    upgrading: Upgrading = NO_DIALOG,
    shown: TerminalFilter | None = None,
    open_by: Callable[[], Coroutine[Any, Any, Socket]] | None = None,
) -> PipeEnd:
    """Connect stdin and stdout (descriptors 0 and 1) to the target, and tell `events` of all that happens.

    `upgrading`: stdin is not read and stdout not written before TLS is up (SEC-R2, SEC-R5).
    `shown`: the filter for a terminal on stdout (SEC-R22). `open_by`: makes the connection, and tells `events` of it.

    Raises:
        SocketError, BrokenPipeError: as `connect()`, `Socket.opened` and `Pump.run`.
    """
    async with _Pipes(ends, events, upgrading, shown) as pipes:
        protocol = upgrading.protocol
        name = None if protocol is None else protocol.name
        events.tell(connecting(target, options, name, no_shutdown=ends.shutdown == "never"))
        if open_by is not None:
            return await pipes.join(await open_by())
        options = options._replace(trace=events.trace)
        return await pipes.open_and_join(connect(target, options), target, options)


async def run_accepted(
    clients: Clients,
    options: SocketOptions,
    ends: PumpOptions,
    events: Subscribers,
    *,
    upgrading: Upgrading = NO_DIALOG,
    shown: TerminalFilter | None = None,
    failed: Callable[[SocketError], object],
) -> PipeEnd:
    """Connect stdin and stdout to the client that comes, or to each of them; otherwise as `run_pipe`.

    Where clients are kept coming, stdin goes to the first one as far as it reaches, and the later ones see our end at
    once; `failed` is told of a connection that broke, and it goes on with the next.

    Raises:
        ListenError, ConnectTimeout, ProxyError: as `Clients.next()`; the last one where it is the only client.
        BrokenPipeError: as `run_pipe`; also while nobody has come.
        SocketError: as `run_pipe`; of those that concern one client only where it is the only one.
    """
    options = options._replace(trace=events.trace)
    async with _Pipes(ends, events, upgrading, shown, keeps=clients.keep) as pipes:
        while True:
            try:
                socket = await pipes.unless_stdout_goes(clients.next(options))
            except ProxyError as error:  # it came without its header
                if not clients.keep:
                    raise
                failed(error)
                continue
            try:
                end = await pipes.open_and_join(socket, socket.peer, options)
            except (StdinError, StdoutError):
                raise
            except SocketError as error:
                error.client = socket.peer
                if not clients.keep:
                    raise
                failed(error)
            else:
                if not clients.keep:
                    return end
            pipes.next_client()


async def open_socket(
    socket: Socket, target: str, options: SocketOptions, events: Subscribers, upgrading: Upgrading
) -> Socket:
    """Wait for the connection and, with a protocol, for its upgrade. Where it fails it is dropped."""
    protocol, helo = upgrading
    if protocol is None:
        try:
            await socket.opened
        except BaseException:
            socket.abort()
            raise
        return socket
    from cfcat.protocols.upgrade import open_upgraded  # lazy: most runs have no dialog

    return await open_upgraded(
        socket,
        target,
        options,
        protocol,
        helo=helo,
        heard=lambda direction, data: events.tell(Dialog(direction, data)),
        entered=lambda step, _: events.tell(Entered(step)),
    )


class _Pipes:
    """stdin and stdout, for one connection or for several one after the other. Use it in `async with`."""

    def __init__(
        self,
        ends: PumpOptions,
        events: Subscribers,
        upgrading: Upgrading,
        shown: TerminalFilter | None,
        *,
        keeps: bool = False,
    ) -> None:
        self._loop = running_loop()
        self._ends = ends
        self._events = events
        self._upgrading = upgrading
        self._opened = open_output(1, self._loop)
        self._filtered = None if shown is None else _Filtered(self._opened, shown)
        self._output: Output = self._filtered or self._opened
        if keeps:
            self._output = _Kept(self._output)
        self._input = open_input(0, self._loop)

    async def open_and_join(self, socket: Socket, target: str, options: SocketOptions) -> PipeEnd:
        """Open the socket, and go on as `join`."""
        return await self.join(await open_socket(socket, target, options, self._events, self._upgrading))

    async def join(self, socket: Socket) -> PipeEnd:
        """Move everything both ways over an open socket, and close it in order."""
        try:
            pump = Pump(socket, self._input, self._output, self._ends, self._events)
            self._events.tell(Moving(pump))
            try:
                await pump.run()
            finally:
                self._events.tell(Stopped(pump.sent_bytes, pump.received_bytes))
            return PipeEnd(
                socket.peer, socket.ignored_bytes, socket.secure_transport == "off" and not pump.received_bytes
            )
        except BaseException:
            socket.abort()
            raise

    async def unless_stdout_goes(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something. Raises BrokenPipeError: the reader of stdout is gone, and it is cancelled."""
        gone = self._output.reader_gone()
        job = Job(self._loop, work)
        try:
            await settled([job, gone])
            if job.done():
                return job.result()
            raise BrokenPipeError
        finally:
            job.cancel()
            gone.cancel()

    def next_client(self) -> None:
        """stdin was the last one's: there is nothing more to say."""
        self._input.close()
        self._input = no_input(self._loop)

    async def __aenter__(self) -> _Pipes:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._filtered is not None:
                await self._filtered.finish()
        finally:
            self._input.close()
            self._opened.close()


class _Filtered(Output):
    """A terminal, behind its filter."""

    def __init__(self, output: Output, shown: TerminalFilter) -> None:
        super().__init__(output.inherited, output.loop)
        self._output = output
        self._filter = shown

    def give(self, chunk: Buffer = NOTHING) -> bool:
        return self._output.give(self._filter.feed(bytes(chunk)) if chunk else NOTHING)

    def watch(self, callback: Callback) -> None:
        self._output.watch(callback)

    def unwatch(self) -> None:
        self._output.unwatch()

    async def finish(self) -> None:
        """Show what was held back: half a character, a lone CR."""
        await self._output.write(self._filter.feed(b"", final=True))

    def reader_gone(self) -> Promise[None]:
        return self._output.reader_gone()

    def end(self) -> None:
        """A terminal has no reader that waits for its end."""


class _Kept(Output):
    """An output that outlives a connection: more may come from the next."""

    def __init__(self, output: Output) -> None:
        super().__init__(output.inherited, output.loop)
        self._output = output
        self.joined = output.joined

    def give(self, chunk: Buffer = NOTHING) -> bool:
        return self._output.give(chunk)

    def watch(self, callback: Callback) -> None:
        self._output.watch(callback)

    def unwatch(self) -> None:
        self._output.unwatch()

    def reader_gone(self) -> Promise[None]:
        return self._output.reader_gone()

    def end(self) -> None:
        """Not yet."""
