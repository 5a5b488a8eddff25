"""What was typed before: one file for all sessions of a user, one entry a line.

An entry is a JSON object, so that a line that was torn by a crash, or is somebody else's, is no entry and harms no
other. Sessions that run at the same time append whole lines under a shared lock. When the file has grown too long,
one of them takes the lock for itself, writes the newest entries to a new file and puts that in its place, which the
others notice before they append: no session loses what another one wrote.

The file is for its owner alone, and never a symbolic link or anything else that is no file. Nothing that goes wrong
with it stops a session: there is one warning, and from then on the history is that of the session itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cfcat.errors import reason_of
from cfcat.report.render import escape

__all__ = ["Entry", "History"]

MAX_ENTRIES = 10_000  # bash keeps 500 unless told otherwise
SLACK_ENTRIES = 1_000  # a full file is not rewritten at every start
MAX_TEXT_CHARACTERS = 4096  # a longer pasted line is not stored: nobody edits it again
MAX_READ_BYTES = 32 << 20  # read only the tail of a larger file, and skip its partial first line
NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP})  # some network file systems


class Entry(NamedTuple):
    """`host`: the target it was sent to, as the session calls it. `text`: without the line ending."""

    host: str
    text: str


class History:
    """Entries of the file (after load()) plus added ones; without a path only added ones."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._file = None if path is None else _File(Path(path))
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._warning = ""

    @classmethod
    def of_user(cls) -> History:
        """The current user's history: in the file that CFCAT_HISTORY names; nowhere, if that is empty.

        Without it in `cfcat/history` in the user's state folder, which XDG_STATE_HOME may name.
        """
        named = os.environ.get("CFCAT_HISTORY")
        if named is not None:
            return cls(None if named in ("", os.devnull) else os.path.expanduser(named))
        from platformdirs import user_state_path  # lazy: 10 ms, and only a session on a terminal has a history

        try:
            folder = user_state_path("cfcat")
        except RuntimeError:  # no home; older versions return this path instead
            folder = Path("~")
        if folder.is_absolute():
            return cls(folder / "history")
        history = cls(None)
        history._warning = "history is not kept: no home directory"
        return history

    def take_warning(self) -> str:
        """Why the file is not used (any more), in one line that is safe to show; "" if it is used, or if the reason was
        returned before."""
        warning, self._warning = self._warning, ""
        return warning

    def load(self) -> list[Entry]:
        """Read the file; return the entries, oldest first. What is no entry is passed over."""
        if self._file is not None:
            with self._giving_up():
                entries = self._file.read()
                self._entries = deque(entries, MAX_ENTRIES)
                if len(entries) > MAX_ENTRIES + SLACK_ENTRIES:
                    self._file.shorten()
        return list(self._entries)

    def add(self, host: str, text: str) -> None:
        """Append what was typed, unless it is empty, begins with a blank, is very long or the same as the newest.

        Whether it is a secret has been asked before.
        """
        entry = Entry(host, text)
        newest = self._entries[-1] if self._entries else None
        if not text or text[0].isspace() or len(text) > MAX_TEXT_CHARACTERS or entry == newest:
            return
        self._entries.append(entry)
        if self._file is not None:
            with self._giving_up():
                self._file.append(entry)

    def for_host(self, host: str) -> list[str]:
        """All texts, oldest first, those of this host after all others: the last ones are the nearest."""
        here = [entry.text for entry in self._entries if entry.host == host]
        others = [entry.text for entry in self._entries if entry.host != host]
        return [text for text, _ in itertools.groupby(others + here)]

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Do without the file when this fails."""
        assert self._file is not None
        try:
            yield
        except OSError as error:
            self._warning = f"history is not kept: {escape(str(self._file.path))}: {reason_of(error)}"
            self._file = None


class _File:
    """The file. Every method may raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Entry]:
        """All entries, oldest first; none where there is no file yet."""
        try:
            with self._open(os.O_RDONLY) as fd:
                return _read(fd)
        except FileNotFoundError:
            return []

    def append(self, entry: Entry) -> None:
        """Write one entry at the end; make the file, and its folder, where there is none."""
        self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        while True:
            with self._open(os.O_RDWR | os.O_CREAT | os.O_APPEND) as fd:
                _lock(fd, fcntl.LOCK_SH)
                if not self._is_in_place(fd):
                    continue  # shortened or deleted since it was opened
                size = os.fstat(fd).st_size
                torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
                _write(fd, b"\n" * torn + _line(entry))
                return

    def shorten(self) -> None:
        """Keep the newest entries only. Does nothing if another session is just writing."""
        with self._open(os.O_RDWR) as fd:
            try:
                _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._is_in_place(fd):
                self._replace(b"".join(map(_line, _read(fd)[-MAX_ENTRIES:])))

    def _replace(self, data: bytes) -> None:
        from tempfile import mkstemp  # lazy: once in a thousand entries

        fd, name = mkstemp(dir=self.path.parent, prefix=f"{self.path.name}.")  # 0600
        try:
            try:
                _write(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise

    @contextlib.contextmanager
    def _open(self, flags: int) -> Iterator[int]:
        # O_NONBLOCK: a FIFO would be waited for
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(errno.ELOOP, "a symbolic link is not followed") from error
            raise
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if mode & 0o077:
                os.fchmod(fd, 0o600)
            yield fd
        finally:
            os.close(fd)

    def _is_in_place(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.lstat(self.path))
        except FileNotFoundError:
            return False


def _lock(fd: int, how: int) -> None:
    """Lock until the descriptor is closed; go without where there are no locks."""
    try:
        fcntl.flock(fd, how)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _read(fd: int) -> list[Entry]:
    start = max(0, os.fstat(fd).st_size - MAX_READ_BYTES)
    with open(fd, "rb", closefd=False) as file:
        file.seek(start)
        lines = file.read().split(b"\n")
    return [entry for line in lines if (entry := _parse(line)) is not None]


def _line(entry: Entry) -> bytes:
    return json.dumps(entry._asdict()).encode() + b"\n"


def _parse(line: bytes) -> Entry | None:
    """The entry of a line, or None for a line that is damaged or never was an entry."""
    try:
        match json.loads(line):
            case {"host": str(host), "text": str(text)}:
                text.encode("utf-8", "surrogateescape")  # otherwise (lone surrogates) it could not be shown or sent
                return Entry(host, text)
    except (ValueError, RecursionError):
        pass
    return None
