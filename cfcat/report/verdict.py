"""What a policy says of a target, for people and for programs.

db.example:5432: allowed in a Worker, as of 2026-11-17
  198.51.100.7:5432: allowed
  10.0.0.1:5432: blocked: 10.0.0.1 is private, in 10.0.0.0/8 (rule P2)
"""

from __future__ import annotations

import json
from collections.abc import Callable

from cfcat.core.workers import AS_OF, Judgement, Verdict, WorkersPolicy
from cfcat.errors import SocketError
from cfcat.report.render import escape
from cfcat.report.status import ExitStatus

__all__ = ["describe_judgement", "judgement_as_json", "no_judgement_as_json", "workers_note", "workers_policy"]


def describe_judgement(target: str, judgement: Judgement, refusal: SocketError | None) -> list[str]:
    """The verdict, then a line for each address. `refusal`: what a Worker would be told, where all are blocked."""
    said = "" if refusal is None else f": {refusal.message}"
    word = "blocked" if refusal is not None else "allowed"
    return [f"{target}: {word} in a Worker, as of {AS_OF}{said}", *map(_row, judgement.verdicts)]


def _row(verdict: Verdict) -> str:
    word = "blocked" if verdict.status == "blocked" else "allowed"
    return "  " + ": ".join(part for part in (verdict.address, word, escape(verdict.text)) if part)


def workers_note(judgement: Judgement) -> str:
    """What is to be said of a target that is allowed with a note."""
    but = ", without some addresses" if judgement.left_out else ""
    return f"note: allowed in a Worker{but}: {escape('; '.join(judgement.reasons))}"


def workers_policy(note: Callable[[str], None]) -> WorkersPolicy:
    """A new policy, whose notes are given to `note`."""
    return WorkersPolicy(tell=lambda judgement: note(workers_note(judgement)))


def judgement_as_json(target: str, judgement: Judgement, refusal: SocketError | None) -> str:
    """The same as one line. `rule`, `why` and `message` are null where there is nothing to say."""
    return json.dumps(
        {
            "target": target,
            "as_of": AS_OF,
            "verdict": judgement.status,
            "rule": judgement.rule or None,
            "message": None if refusal is None else refusal.message,
            "addresses": list(map(_address, judgement.verdicts)),
            "status": ExitStatus.OK if refusal is None else ExitStatus.CONNECT,
        }
    )


def no_judgement_as_json(target: str, message: str, status: int) -> str:
    """The same object for a target that has no address: there is no verdict."""
    nothing = dict.fromkeys(("verdict", "rule"))
    return json.dumps(
        {"target": target, "as_of": AS_OF, **nothing, "message": message, "addresses": [], "status": status}
    )


def _address(verdict: Verdict) -> dict[str, str | None]:
    return {
        "address": verdict.address,
        "verdict": verdict.status,
        "rule": verdict.rule or None,
        "why": verdict.why or None,
    }
