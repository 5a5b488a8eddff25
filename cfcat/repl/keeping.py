"""What a session writes down: its transcript (`:log`), its capture (`:pcap`), and its conversations for `:export`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cfcat.errors import CommandError, reason_of
from cfcat.export.files import write_export
from cfcat.record.journal import Journal
from cfcat.record.recording import Recorder
from cfcat.record.subscribers import Subscribers
from cfcat.record.transcript import Transcript, session_lines
from cfcat.report.notes import capture_note, log_note, pcap_note
from cfcat.report.render import escape

if TYPE_CHECKING:
    from cfcat.record.capture import Capture
    from cfcat.record.events import Scribe

__all__ = ["Keeping"]


class Keeping:
    """The files of a session, and what is kept for them.

    Everything that `events` tell from now on is recorded, so that an export can be made at any time. A transcript and
    a capture hold what happens while they are open. `note` shows a line to the user. `log_secrets`: a transcript has
    secrets as they were sent; an export never has.
    """

    def __init__(
        self, events: Subscribers, recorder: Recorder, note: Callable[[str], object], *, log_secrets: bool
    ) -> None:
        self._recorder = recorder
        self._note = note
        # Any protocol's secrets are masked: the next connection may be to another one.
        self._journal = Journal(recorder)
        events.add(self._journal)
        self._log = self._journal  # what the transcript is written from
        if log_secrets:
            self._log = Journal(masks=False)
            events.add(self._log)
        self._transcript: Transcript | None = None
        self._capture: Capture | None = None

    def log_to(self, path: str | None, target: str, by: Scribe = "client") -> None:
        """Write the transcript to another file, or to none. `target`: whom its head names; `by`: which side we are.

        Raises:
            CommandError: it cannot be written; the old one goes on.
        """
        opened = None
        if path is not None:
            try:
                opened = Transcript.open(path, target=target, by=by, lines=session_lines, allow_fifo=False)
            except (OSError, ValueError) as error:
                raise _unwritable(path, error) from error
        before, self._transcript = self._transcript, opened
        if before is not None:
            self._log.remove(before)
            before.close()
            if before.problem:
                self._note(log_note(before.problem))
        if opened is not None:
            self._log.add(opened)

    def capture_to(self, path: str | None, *, is_connected: bool) -> Capture | None:
        """Capture connections in another file, or in none; return what the options of the next ones need.

        `is_connected`: there is a connection, which is not captured.

        Raises:
            CommandError: it cannot be written; the old one goes on.
        """
        opened = None
        if path is not None:
            from cfcat.record.capture import Capture  # lazy: most sessions keep none

            try:
                opened = Capture(path)
            except (OSError, ValueError) as error:
                raise _unwritable(path, error) from error
            self._note(pcap_note(path))
            if is_connected:
                self._note("note: this connection is not captured, the next one is")
        before, self._capture = self._capture, opened
        if before is not None:
            before.close()
            if before.problem:
                self._note(capture_note(before.problem))
        return opened

    def export_to(self, path: str) -> None:
        """Write what was said so far, on every connection, as a Worker.

        Raises:
            CommandError: it cannot be exported, or the file not be written.
        """
        self._journal.flush()
        write_export(path, self._recorder.conversations())

    def close(self) -> None:
        """End the transcript and the capture."""
        self.log_to(None, "")
        self.capture_to(None, is_connected=False)


def _unwritable(path: str, error: OSError | ValueError) -> CommandError:
    return CommandError(f"cannot write {escape(path)}: {escape(reason_of(error))}")
