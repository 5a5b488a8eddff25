"""`--check-workers`: would this work in a Worker? Nothing is connected to."""

from __future__ import annotations

from cfcat.core.address import Target
from cfcat.core.dial import assess
from cfcat.core.workers import WorkersPolicy
from cfcat.edges.poll_loop import PollLoop
from cfcat.errors import SocketError
from cfcat.report.messages import explain, status_of
from cfcat.report.status import ExitStatus
from cfcat.report.verdict import describe_judgement, judgement_as_json, no_judgement_as_json

__all__ = ["run_check"]


def run_check(target: Target, *, family: str | None, timeout_s: float, json: bool) -> int:
    """Print the verdict on stdout, for people or as one JSON object; 0 is allowed, 7 blocked.

    Raises:
        SocketError: as `assess()`; but with `json` it is in the object, and the status is its own.
    """
    try:
        judgement, refusal = PollLoop().run(assess(target, WorkersPolicy(), family=family, timeout_s=timeout_s))
    except SocketError as error:
        if not json:
            raise
        status = status_of(error)
        print(no_judgement_as_json(target.text, explain(error, target.text).text, status))
        return status
    if json:
        print(judgement_as_json(target.text, judgement, refusal))
    else:
        print("\n".join(describe_judgement(target.text, judgement, refusal)))
    return ExitStatus.OK if refusal is None else ExitStatus.CONNECT
