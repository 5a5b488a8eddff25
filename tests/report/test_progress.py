"""The progress line: what it says, what it leaves out, and what it costs."""

from __future__ import annotations

import re
import time

import pytest

from cfcat.report import progress as module
from cfcat.report.progress import Progress
from cfcat.report.reporter import TICK_S

SGR = re.compile(r"\x1b\[[0-9;]*m")
MIB = 1_000_000


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def line(progress: Progress, sent: int, received: int) -> str:
    """What the terminal shows of it."""
    drawn = progress.draw(sent, received)
    assert drawn.startswith("\r")
    assert drawn.endswith("\x1b[K")
    return SGR.sub("", drawn[1 : -len("\x1b[K")])


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (200, "> 4.0 MB  < 2.0 MB  6.0 MB/s  40%  0:02  " + "━" * 16 + "╸" + "━" * 23),
        (80, "> 4.0 MB  < 2.0 MB  6.0 MB/s  40%  0:02  " + "━" * 15 + "╸" + "━" * 22),
        (40, "> 4.0 MB  < 2.0 MB  6.0 MB/s  40%  0:02"),
        (39, "> 4.0 MB  < 2.0 MB  40%  0:02  ━━╸━━━━"),
        (30, "> 4.0 MB  < 2.0 MB  40%  0:02"),
        (29, "> 4.0 MB  < 2.0 MB  40%"),
        (20, "> 4.0 MB  40%"),
        (13, "> 4.0 MB"),
        (1, ""),
    ],
)
def test_what_there_is_room_for(columns: int, shown: str, clock: Clock) -> None:
    """The rate goes first, then the time left; the last column stays free."""
    progress = Progress(lambda: columns, total=10 * MIB, color=True)
    progress.draw(0, 0)
    clock.now = 1.0
    drawn = line(progress, 4 * MIB, 2 * MIB)
    assert drawn == shown or (columns > 40 and re.sub("[━╸╺]", "", drawn) == re.sub("[━╸]", "", shown))
    assert len(drawn) < columns or columns == 1


def test_rate_and_time_left_are_those_of_the_last_seconds(clock: Clock) -> None:
    """Not of the whole run: a connection that has become slow is slow."""
    progress = Progress(lambda: 80, total=10 * MIB, color=False)
    progress.draw(0, 0)
    for tick in range(1, 40):
        clock.now = tick / 4
        shown = line(progress, MIB + tick * 1000, 0)
    assert "4.0 kB/s" in shown
    assert "37:20" in shown


@pytest.mark.parametrize(("left", "shown"), [(59, "0:59"), (60, "1:00"), (3599, "59:59"), (36000, "10:00:00")])
def test_time_left(left: int, shown: str, clock: Clock) -> None:
    """Minutes and seconds, and hours where there are any."""
    progress = Progress(lambda: 80, total=(left + 1) * MIB, color=False)
    progress.draw(0, 0)
    clock.now = 1.0
    assert f"  {shown}  " in line(progress, MIB, 0)


def test_nothing_moves(clock: Clock) -> None:
    """No rate, and no promise."""
    progress = Progress(lambda: 80, total=MIB, color=False)
    assert line(progress, 0, 0).startswith("> 0 bytes  < 0 bytes  0 bytes/s  0%  -:--  ")


def test_more_than_the_file_had(clock: Clock) -> None:
    """It grew while it was read, or --crlf added to it: no more than all of it is done."""
    assert "  100%  " in line(Progress(lambda: 80, total=MIB, color=False), 2 * MIB, 0)


@pytest.mark.parametrize("total", [None, 0])
def test_a_share_of_nothing(total: int | None, clock: Clock) -> None:
    """Where nobody knows how much there is, or there is nothing: bytes and rate."""
    assert line(Progress(lambda: 80, total=total, color=False), 5, 0) == "> 5 bytes  < 0 bytes  0 bytes/s"


def test_colour(clock: Clock) -> None:
    """Only where it is wanted."""
    assert "\x1b[32m" in Progress(lambda: 80, total=MIB, color=True).draw(MIB // 2, 0)
    assert "\x1b[3" not in Progress(lambda: 80, total=MIB, color=False).draw(MIB // 2, 0)


def test_it_makes_way(clock: Clock) -> None:
    """For lines of ours always; for data only where that goes to the same terminal, and until its line is complete."""
    progress = Progress(lambda: 80, total=None, color=False, shares_terminal=True)
    assert progress.erase() == ""
    assert progress.draw(0, 0)
    assert progress.erase() == "\r\x1b[K"
    assert progress.erase() == ""
    assert progress.draw(0, 0)
    assert progress.make_way(b"half a li") == "\r\x1b[K"
    assert progress.draw(0, 9) == ""
    assert progress.make_way(b"ne\n") == ""
    assert progress.draw(0, 12)
    progress.make_way(b"x")
    assert progress.last(0, 13).startswith("\n> ")
    elsewhere = Progress(lambda: 80, total=None, color=False)
    assert elsewhere.draw(0, 0)
    assert elsewhere.make_way(b"x") == ""
    assert elsewhere.draw(0, 1)
    assert elsewhere.last(0, 1).endswith("\n")


def test_it_costs_less_than_a_fiftieth() -> None:
    """2 % of the time between two looks; in fact some 0.1 %."""
    progress = Progress(lambda: 80, total=10 * MIB, color=True)
    costs = []
    for number in range(50):
        began = time.process_time()
        progress.draw(number * 1000, number)
        costs.append(time.process_time() - began)
    assert sorted(costs)[25] < TICK_S / 50
