"""One run of pipe mode: connect, pump, end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cfcat.core.codec import Buffer
from cfcat.core.loop import running_loop
from cfcat.core.options import SocketOptions, connecting
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket, connect
from cfcat.edges.descriptors import NOTHING, Callback
from cfcat.edges.stdin import open_input
from cfcat.edges.stdout import Output, open_output
from cfcat.pipe.pump import Pump, PumpOptions
from cfcat.record.events import Dialog, Entered, Moving, Stopped, Subscribers

if TYPE_CHECKING:
    from cfcat.protocols import Protocol
    from cfcat.report.render import TerminalFilter

__all__ = ["PipeEnd", "run_pipe"]


class PipeEnd(NamedTuple):
    """What is worth a word about a run that ended in order.

    `ignored_bytes` came behind the peer's end of TLS (SEC-R9). `is_silent`: nothing came, and it was all in clear text.
    """

    ignored_bytes: int
    is_silent: bool


async def run_pipe(
    target: str,
    options: SocketOptions,
    ends: PumpOptions,
    events: Subscribers,
    *,
    protocol: Protocol | None = None,
    helo: str | None = None,
    shown: TerminalFilter | None = None,
) -> PipeEnd:
    """Connect stdin and stdout (descriptors 0 and 1) to the target, and tell `events` of all that happens.

    `protocol`: upgrade by its dialog first; stdin is not read and stdout not written before TLS is up (SEC-R2, SEC-R5).
    `helo`: as for `open_upgraded`.
    `shown`: the filter for a terminal on stdout (SEC-R22).

    Raises:
        SocketError, BrokenPipeError: as `connect()`, `Socket.opened` and `Pump.run`.
    """
    loop = running_loop()
    stdout, stdin = open_output(1, loop), open_input(0, loop)
    filtered = None if shown is None else _Filtered(stdout, shown)
    name = None if protocol is None else protocol.name
    events.tell(connecting(target, options, name, no_shutdown=ends.shutdown == "never"))
    options = options._replace(trace=events.trace)
    socket = connect(target, options)
    try:
        socket = await _open(socket, target, options, protocol, helo, events)
        pump = Pump(socket, stdin, filtered or stdout, ends, events)
        events.tell(Moving(pump))
        try:
            await pump.run()
        finally:
            events.tell(Stopped(pump.sent_bytes, pump.received_bytes))
        return PipeEnd(socket.ignored_bytes, socket.secure_transport == "off" and not pump.received_bytes)
    except BaseException:
        socket.abort()
        raise
    finally:
        if filtered is not None:
            await filtered.finish()
        stdin.close()
        stdout.close()


async def _open(
    socket: Socket,
    target: str,
    options: SocketOptions,
    protocol: Protocol | None,
    helo: str | None,
    events: Subscribers,
) -> Socket:
    """Wait for the connection and, with a protocol, for its upgrade."""
    if protocol is None:
        await socket.opened
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
