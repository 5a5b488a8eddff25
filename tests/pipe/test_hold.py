"""What a held end knows afterwards; when it is due is tested with real peers, in `test_held.py`."""

from __future__ import annotations

import pytest

from cfcat import connect
from cfcat.errors import LostError, TruncatedError
from cfcat.pipe.hold import HeldEnd
from tests.helpers.peers import Peer, serve


def hold(conn: Peer) -> None:
    conn.recv_until_eof()


@pytest.mark.parametrize(
    ("error", "after"),
    [(LostError(), True), (TruncatedError("cut short"), True), (LostError(sending=True), False)],
    ids=["reset", "truncated", "our end could not be sent"],
)
async def test_an_end_that_was_sent_may_be_why(error: LostError | TruncatedError, after: bool) -> None:
    """Where a send found the reset, our end never left: it is not to blame, and nobody is told to keep it back."""
    end = HeldEnd()
    with serve(hold) as server:
        async with connect(server.address) as socket:
            await socket.opened
            assert await end.is_due("now", socket, 0, is_stalled=lambda: False, held=lambda: None)
            end.note_failure(error)
    assert error.after_our_end is after
