"""One run of pipe mode: connect, pump, end."""

from __future__ import annotations

from cfcat.core.options import SocketOptions
from cfcat.core.sockets import connect
from cfcat.pipe.pump import Pump, PumpOptions
from cfcat.pipe.stdio import Output, open_input, open_output
from cfcat.report.render import TerminalFilter

__all__ = ["run_pipe"]


async def run_pipe(target: str, options: SocketOptions, ends: PumpOptions, shown: TerminalFilter | None = None) -> None:
    """Connect stdin and stdout (descriptors 0 and 1) to the target.

    `shown`: stdout is a terminal and gets only what this lets pass (R22).

    Raises:
        SocketError, BrokenPipeError: as `connect()`, `Socket.opened` and `Pump.run`.
    """
    stdout = open_output(1)
    stdin = open_input(0)
    filtered = None if shown is None else _Filtered(stdout, shown)
    socket = connect(target, options)
    try:
        await socket.opened
        await Pump(socket, stdin, filtered or stdout, ends).run()
    except BaseException:
        socket.abort()
        raise
    finally:
        if filtered is not None:
            await filtered.finish()
        stdin.close()
        stdout.close()


class _Filtered(Output):
    """A terminal, behind its filter."""

    def __init__(self, output: Output, shown: TerminalFilter) -> None:
        super().__init__(output.inherited)
        self._output = output
        self._filter = shown

    async def write(self, chunk: bytes) -> None:
        await self._output.write(self._filter.feed(chunk))

    async def finish(self) -> None:
        """Show what was held back: half a character, a lone CR."""
        await self._output.write(self._filter.feed(b"", final=True))

    async def reader_gone(self) -> None:
        await self._output.reader_gone()

    def end(self) -> None:
        """A terminal has no reader that waits for its end."""
