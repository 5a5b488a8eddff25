"""One run of pipe mode: connect, pump, end."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from cfcat.core.codec import Buffer
from cfcat.core.options import SocketOptions
from cfcat.core.sockets import Socket, connect
from cfcat.edges.descriptors import NOTHING, Callback
from cfcat.edges.stdin import open_input
from cfcat.edges.stdout import Output, open_output
from cfcat.pipe.pump import Pump, PumpOptions
from cfcat.report.render import TerminalFilter

if TYPE_CHECKING:
    from cfcat.protocols import Protocol
    from cfcat.report.reporter import Reporter

__all__ = ["run_pipe"]


async def run_pipe(
    target: str,
    options: SocketOptions,
    ends: PumpOptions,
    *,
    protocol: Protocol | None = None,
    shown: TerminalFilter | None = None,
    reporter: Reporter | None = None,
) -> int:
    """Connect stdin and stdout (descriptors 0 and 1) to the target.

    Returns how many bytes were ignored because they came behind the peer's end of TLS (R9).
    `protocol`: upgrade by its dialog first; stdin is not read and stdout not written before TLS is up (R2, R5).
    `shown`: stdout is a terminal and gets only what this lets pass (R22). `reporter`: who is told of all that happens.

    Raises:
        SocketError, BrokenPipeError: as `connect()`, `Socket.opened` and `Pump.run`.
    """
    stdout = open_output(1)
    stdin = open_input(0)
    filtered = None if shown is None else _Filtered(stdout, shown)
    if reporter is not None:
        from cfcat.record.events import Connecting, connecting_text  # lazy: most runs are not reported

        name = None if protocol is None else protocol.name
        reporter.connecting(connecting_text(Connecting.by(target, options, name, no_shutdown=ends.shutdown == "never")))
        reporter.enter("resolve")
        options = dataclasses.replace(options, trace=reporter.trace)
    socket = connect(target, options)
    try:
        socket = await _open(socket, target, options, protocol, reporter)
        pump = Pump(socket, stdin, filtered or stdout, ends, observer=reporter)
        with contextlib.nullcontext() if reporter is None else reporter.watching(pump):
            await pump.run()
        return socket.ignored_bytes
    except BaseException:
        socket.abort()
        raise
    finally:
        if filtered is not None:
            await filtered.finish()
        stdin.close()
        stdout.close()


async def _open(
    socket: Socket, target: str, options: SocketOptions, protocol: Protocol | None, reporter: Reporter | None
) -> Socket:
    """Wait for the connection and, with a protocol, for its upgrade."""
    if protocol is None:
        await socket.opened
        return socket
    from cfcat.protocols.upgrade import open_upgraded  # lazy: most runs have no dialog

    if reporter is None:
        return await open_upgraded(socket, target, options, protocol)
    enter = reporter.enter
    return await open_upgraded(
        socket, target, options, protocol, heard=reporter.heard, entered=lambda step, _: enter(step)
    )


class _Filtered(Output):
    """A terminal, behind its filter."""

    def __init__(self, output: Output, shown: TerminalFilter) -> None:
        super().__init__(output.inherited)
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

    async def reader_gone(self) -> None:
        await self._output.reader_gone()

    def end(self) -> None:
        """A terminal has no reader that waits for its end."""
