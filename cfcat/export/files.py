"""Write an export to disk, all of it or nothing, in place of an older file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence

from cfcat.errors import CommandError, reason_of
from cfcat.export.worker import worker_module
from cfcat.record.recording import Conversation, read_transcript
from cfcat.report.render import escape

__all__ = ["check_folder", "open_transcript", "write_export"]


def check_folder(path: str) -> None:
    """Raise CommandError where a file cannot be made: better before a long session than behind it."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise CommandError(f"cannot write {escape(path)}: no such file or directory")
    if os.path.isdir(path):
        raise CommandError(f"cannot write {escape(path)}: is a directory")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise CommandError(f"cannot write {escape(path)}: permission denied")


def write_export(path: str, conversations: Sequence[Conversation]) -> None:
    """Write the Worker for these connections. Raises CommandError if they cannot be exported or written."""
    _write_file(path, worker_module(conversations))


def open_transcript(source: str) -> list[Conversation]:
    """The connections of a transcript. Raises CommandError where it cannot be read, or has none."""
    try:
        with open(source, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            return read_transcript(lines)
    except CommandError as error:
        raise CommandError(f"{escape(source)}: {error.message}", error.hint) from error
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {escape(source)}: {escape(reason_of(error))}") from error


def _write_file(path: str, text: str) -> None:
    """Write a file that anybody may read as far as the umask lets them; one that is there keeps its rights.

    Raises CommandError.
    """
    try:
        _write(os.path.realpath(path), text.encode())
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot write {escape(path)}: {escape(reason_of(error))}") from error


def _write(path: str, data: bytes) -> None:
    mode = os.stat(path).st_mode if os.path.exists(path) else None
    if mode is not None and not stat.S_ISREG(mode):
        _write_at_once(path, data)
        return
    made = f"{path}.{os.getpid()}.new"
    fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else 0o600)
    try:
        if mode is not None:
            os.fchmod(fd, stat.S_IMODE(mode))
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(made, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise


def _write_at_once(path: str, data: bytes) -> None:
    """Write to a device or a FIFO, which must not hold anybody up: it takes all of it now, or it is an error."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads it") from error
        raise
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BlockingIOError as error:
        raise OSError(errno.EAGAIN, "its reader has stopped") from error
    finally:
        os.close(fd)
