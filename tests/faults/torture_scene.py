"""The sessions that are tortured: who says what, over which kind of connection, with what as stdin and stdout."""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["LAST", "SCENES", "Scene"]


def _text(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size).hex().encode()


ROUNDS = ((_text(1, 1500), _text(2, 2049)), (_text(3, 2048), _text(4, 1000)))
LAST = _text(5, 1200)


class Scene(NamedTuple):
    """A kind of connection (`ways`), what stdin and stdout are, and the mode of the run.

    "thread": pipes that cannot be opened again.
    """

    way: str
    edges: str = "pipe"
    mode: str = "pipe"

    @property
    def name(self) -> str:
        return f"{self.way}-{self.edges}" if self.mode == "pipe" else f"{self.way}-{self.mode}"

    @property
    def arguments(self) -> list[str]:
        mode = ["--repl"] if self.mode == "script" else ["--pipe", "--raw"]
        # Under TLS our end waits for a second, too long for some thousand runs; in clear text it is held here as well.
        return mode if self.way == "plain" else [*mode, "--shutdown", "now"]

    def typed(self, question: bytes) -> bytes:
        """What is on stdin for the peer to get this."""
        return question.removesuffix(b"\r\n") + b"\n" if self.mode == "script" else question

    @property
    def rounds(self) -> list[tuple[bytes, bytes]]:
        end = b"\r\n" if self.mode == "script" else b""
        return [(question + end, answer) for question, answer in ROUNDS]

    @property
    def asked(self) -> bytes:
        return b"".join(question for question, _ in self.rounds)

    @property
    def answered(self) -> bytes:
        return b"".join(answer for _, answer in self.rounds) + LAST


SCENES = {
    scene.name: scene
    for scene in (
        *(Scene(way) for way in ("plain", "tls1.2", "tls1.3", "upgraded")),
        *(Scene("plain", edges) for edges in ("file", "socket", "terminal", "thread")),
        *(Scene(way, mode="script") for way in ("plain", "upgraded")),
    )
}
