"""Where a session is seen: what it asks of the screen, or of a script."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from cfcat.report.messages import Message

__all__ = ["Face", "PromptState"]


class Face(Protocol):
    """Where a session is seen: the screen or the script."""

    async def show_received(self, data: bytes) -> None:
        """Show bytes from the peer, of which nothing is escaped yet. Nothing more is read before this returns."""

    def show_notice(self, text: str) -> None:
        """Show what cfcat itself has to say: escaped already, one line or several."""

    def show_error(self, message: Message) -> None:
        """Show what went wrong while no command was at fault: the connection broke."""

    def state_changed(self) -> None:
        """Prompt, toolbar or view are not what they were."""

    def show_text(self, text: str) -> None:
        """Show what a command was to show, on standard error: escaped already."""

    async def confirm(self, question: str) -> bool:
        """Ask yes or no; False where nobody can be asked."""

    async def ask_secret(self, prompt: str) -> str | None:
        """Ask for a line that is not shown; None where none is given. Raises CommandError: there is nobody to ask."""

    def end_within(self, seconds: float) -> bool:
        """End with status 28 after so many seconds; False where there is no such end."""


class PromptState(NamedTuple):
    """What a prompt tells. `tls`: "", "tls", or "tls!" where certificates are not checked.

    `marks`: "recv-closed" or "send-closed", or "closed" for both.
    """

    address: str
    tls: str
    marks: tuple[str, ...]
