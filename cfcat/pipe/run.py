"""One run of pipe mode: connect, pump, end."""

from __future__ import annotations

from cfcat.core.options import SocketOptions
from cfcat.core.sockets import connect
from cfcat.pipe.pump import Pump, PumpOptions
from cfcat.pipe.stdio import Output, open_input, open_output
from cfcat.report.render import TerminalFilter

__all__ = ["run_pipe"]


async def run_pipe(target: str, options: SocketOptions, ends: PumpOptions, *, filtered: bool) -> int:
    """Connect stdin and stdout (descriptors 0 and 1) to the target.

    `filtered`: stdout is a terminal and gets only what is safe to show (R22). Returns how many characters were
    not passed for that reason.

    Raises:
        SocketError, BrokenPipeError: as `connect()`, `Socket.opened` and `Pump.run`.
    """
    stdout = open_output(1)
    stdin = open_input(0)
    shown = _Filtered(stdout) if filtered else stdout
    socket = connect(target, options)
    try:
        await socket.opened
        await Pump(socket, stdin, shown, ends).run()
    except BaseException:
        socket.abort()
        raise
    finally:
        if isinstance(shown, _Filtered):
            await shown.finish()
        stdin.close()
        stdout.close()
    return shown.filter.escaped if isinstance(shown, _Filtered) else 0


class _Filtered(Output):
    """A terminal, behind its filter."""

    def __init__(self, output: Output) -> None:
        super().__init__(output.inherited)
        self._output = output
        self.filter = TerminalFilter()

    async def write(self, chunk: bytes) -> None:
        await self._output.write(self.filter.feed(chunk))

    async def finish(self) -> None:
        """Show what was held back: half a character, a lone CR."""
        await self._output.write(self.filter.feed(b"", final=True))

    async def reader_gone(self) -> None:
        await self._output.reader_gone()

    def end(self) -> None:
        """A terminal has no reader that waits for its end."""
