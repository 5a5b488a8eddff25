"""`--progress`: one line on a terminal, drawn over and over, with rich.

It looks at counters a few times a second and never at a chunk. Nothing is written here: each method returns the text,
escape sequences included. Where data goes to the same terminal, the line makes way for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rich.console import Console
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.text import Text

__all__ = ["Progress"]

ERASE = "\r\x1b[K"
RATE_SAMPLES = 20  # of the last five seconds: a rate that can be read, and still follows
BAR_COLUMNS = (6, 40)  # smallest and largest width of the bar
GAP = "  "


class Progress:
    """The line. `columns`: the terminal's width now; `total`: bytes that stdin has, None where nobody knows.

    `shares_terminal`: does the data go to the same terminal?
    """

    def __init__(
        self, columns: Callable[[], int], *, total: int | None, color: bool, shares_terminal: bool = False
    ) -> None:
        self.shares_terminal = shares_terminal
        self._columns = columns
        self._total = total or None  # an empty file has no share
        self._console = Console(
            force_terminal=True, color_system="standard" if color else None, legacy_windows=False, highlight=False
        )
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=RATE_SAMPLES)
        self._shown = False
        self._mid_line = False

    def draw(self, sent: int, received: int) -> str:
        """The line as it is now, over the one before; "" while data stands where it would be."""
        self._samples.append((time.monotonic(), sent, received))
        if self._mid_line:
            return ""
        self._shown = True
        return f"\r{self._render(sent, received)}\x1b[K"

    def last(self, sent: int, received: int) -> str:
        """The final line, with a newline."""
        line = self.draw(sent, received) or f"\n{self._render(sent, received)}"
        self._shown = False
        return f"{line}\n"

    def erase(self) -> str:
        """Erase the line, because something else will be written there."""
        shown, self._shown = self._shown, False
        return ERASE if shown else ""

    def make_way(self, chunk: bytes) -> str:
        """Erase the line, because this text goes to the same terminal."""
        if not self.shares_terminal:
            return ""
        self._mid_line = not chunk.endswith(b"\n")
        return self.erase()

    def _render(self, sent: int, received: int) -> str:
        room = self._columns() - 1  # the last column would make some terminals begin a new line
        parts = {"rate": f"{decimal(round(self._rate()))}/s"}
        parts = {"sent": f"> {decimal(sent)}", "received": f"< {decimal(received)}", **parts}
        if self._total is not None:
            parts["share"] = f"{min(100, sent * 100 // self._total)}%"
            parts["left"] = self._left(sent)
        for name in ("rate", "left", "received", "share", "sent"):
            if len(GAP.join(parts.values())) <= room:
                break
            del parts[name]
        text = GAP.join(parts.values())
        bar = self._bar(sent, room - len(text) - len(GAP))
        with self._console.capture() as captured:
            self._console.print(Text(text), end="")
            if bar is not None:
                self._console.print(GAP, end="")
                self._console.print(bar, end="")
        return captured.get()

    def _bar(self, sent: int, room: int) -> ProgressBar | None:
        least, most = BAR_COLUMNS
        if self._total is None or room < least:
            return None
        done = min(sent, self._total)
        return ProgressBar(self._total, done, min(room, most), complete_style="green", finished_style="green")

    def _rate(self) -> float:
        """Bytes a second, both ways together."""
        seconds, sent, received = self._moved()
        return (sent + received) / seconds if seconds else 0.0

    def _left(self, sent: int) -> str:
        assert self._total is not None
        seconds, moved, _ = self._moved()
        if not moved:
            return "-:--"
        left = round(max(0, self._total - sent) * seconds / moved)
        minutes, rest = divmod(left, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

    def _moved(self) -> tuple[float, int, int]:
        """Seconds, and bytes each way, between the first sample that is kept and the last."""
        if not self._samples:
            return 0.0, 0, 0
        (began, *before), (now, *after) = self._samples[0], self._samples[-1]
        return now - began, after[0] - before[0], after[1] - before[1]
