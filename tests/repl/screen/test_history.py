"""The history: one file for all sessions of a user, which may be damaged, shared, full or not there at all."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cfcat.repl.screen import history as module
from cfcat.repl.screen.history import Entry, History

pytestmark = pytest.mark.one_python

MAIL, WEB = "mail.example:25", "web.example:80"
TYPED = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff\n\x1b\\\"'{}"), max_size=30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a history is to be, in a folder that there is not yet."""
    return tmp_path / "state" / "cfcat" / "history"


def stored(path: Path) -> list[Entry]:
    """What a new session would find."""
    history = History(path)
    entries = history.load()
    assert history.take_warning() == ""
    return entries


def texts(path: Path) -> list[str]:
    return [entry.text for entry in stored(path)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# ------------------------------------------------------------------------------------------------ entries


def test_what_was_typed_is_there_in_the_next_session(path: Path) -> None:
    """Host and text, oldest first."""
    history = History(path)
    assert history.load() == []
    history.add(MAIL, "EHLO me")
    history.add(WEB, "GET / HTTP/1.1")
    assert stored(path) == [(MAIL, "EHLO me"), (WEB, "GET / HTTP/1.1")]
    assert history.take_warning() == ""


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(entries=st.lists(st.tuples(TYPED, TYPED), max_size=5))
def test_any_text_comes_back_as_it_was(tmp_path: Path, entries: list[tuple[str, str]]) -> None:
    """Line ends, control characters and bytes that are no UTF-8, each entry on one line of ASCII."""
    path = tmp_path / "history"
    path.unlink(missing_ok=True)
    history = History(path)
    for host, text in entries:
        history.add(host, text)
    kept = [(host, text) for host, text in entries if text and not text[0].isspace()]
    expected = [entry for entry, _ in itertools.groupby(kept)]
    assert stored(path) == expected
    if expected:
        lines = path.read_bytes().decode("ascii").split("\n")
        assert len(lines) == len(expected) + 1


def test_the_newest_is_not_stored_twice(path: Path) -> None:
    """In one session or over two; another one in between, or another host, makes it new."""
    history = History(path)
    for host, text in [(MAIL, "a"), (MAIL, "a"), (MAIL, "b"), (MAIL, "a"), (WEB, "a")]:
        history.add(host, text)
    again = History(path)
    again.load()
    again.add(WEB, "a")
    assert stored(path) == [(MAIL, "a"), (MAIL, "b"), (MAIL, "a"), (WEB, "a")]


@pytest.mark.parametrize("text", ["", " secret", "\tsecret", "\u00a0secret", "\nsecret", "x" * 4097])
def test_what_is_never_stored(path: Path, text: str) -> None:
    """Nothing, a line that begins with a blank, and what is too long to be a line."""
    history = History(path)
    history.add(MAIL, text)
    assert not path.exists()
    assert history.for_host(MAIL) == []


def test_entries_of_the_same_host_are_the_nearest(path: Path) -> None:
    """They come last, each group in its own order; what would be twice in a row is there once."""
    history = History(path)
    for host, text in [(MAIL, "1"), (WEB, "2"), (MAIL, "3"), (WEB, "3"), (MAIL, "4"), (WEB, "5")]:
        history.add(host, text)
    assert history.for_host(MAIL) == ["2", "3", "5", "1", "3", "4"]
    assert history.for_host(WEB) == ["1", "3", "4", "2", "3", "5"]
    assert history.for_host("new:1") == ["1", "2", "3", "4", "5"]
    history.add("new:1", "5")
    assert history.for_host("new:1") == ["1", "2", "3", "4", "5"]


def test_no_file_is_a_history_too() -> None:
    """What was typed in this session can be found in it."""
    history = History(None)
    history.add(MAIL, "EHLO me")
    assert history.load() == [(MAIL, "EHLO me")]
    assert history.take_warning() == ""


# ------------------------------------------------------------------------------------------------- the file


def test_file_and_folder_are_for_their_owner_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0600 in 0700 from the beginning, whatever the umask lets through."""
    monkeypatch.delattr(os, "fchmod")
    before = os.umask(0)
    try:
        History(path).add(MAIL, "EHLO me")
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700


def test_file_that_others_can_read_is_closed_to_them(path: Path) -> None:
    """By reading it already; a folder that was there stays as it is."""
    write(path, b"")
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert stored(path) == []
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o755


@pytest.mark.parametrize(
    "damage",
    [
        b"\n",
        b"EHLO me\n",
        b"\xff\xfe\0\n",
        b'{"host": "h", "text": 1}\n',
        b'{"host": "h"}\n',
        b'["h", "text"]\n',
        b'{"host": "h", "text": "\\ud800"}\n',
        b"[" * 100_000 + b"\n",
        b"1" * 5000 + b"\n",
        b'{"host": "h", "te\n',
    ],
)
def test_damaged_lines_are_passed_over(path: Path, damage: bytes) -> None:
    """What is no entry harms none, and is not taken away: it may be somebody's."""
    history = History(path)
    history.add(MAIL, "before")
    with path.open("ab") as file:
        file.write(damage)
    history.add(MAIL, "after")
    assert texts(path) == ["before", "after"]
    assert damage in path.read_bytes()


def test_torn_line_does_not_take_the_next_with_it(path: Path) -> None:
    """A session that was killed while it wrote left half an entry."""
    history = History(path)
    history.add(MAIL, "before")
    size = path.stat().st_size
    history.add(MAIL, "torn")
    os.truncate(path, size + 10)
    assert texts(path) == ["before"]
    history.add(MAIL, "after")
    assert texts(path) == ["before", "after"]


def test_a_later_version_may_say_more(path: Path) -> None:
    """Further fields of an entry are no damage."""
    write(path, b'{"text": "a", "time": 0, "host": "h:1"}\n')
    assert stored(path) == [("h:1", "a")]


def fill(path: Path, count: int) -> None:
    write(path, b"".join(json.dumps({"host": MAIL, "text": str(number)}).encode() + b"\n" for number in range(count)))


def test_full_file_is_shortened_when_it_is_read(path: Path) -> None:
    """The newest 10,000 stay; the file changes as a whole, and is as private as before."""
    fill(path, 11_001)
    before = path.stat().st_ino
    with path.open("rb") as old:
        assert len(texts(path)) == 10_000
        assert path.stat().st_ino != before
        assert len(old.read().splitlines()) == 11_001
    assert mode(path) == 0o600
    assert texts(path) == [str(number) for number in range(1_001, 11_001)]
    assert os.listdir(path.parent) == ["history"]


def test_file_that_is_nearly_full_is_left_alone(path: Path) -> None:
    """Not every start rewrites it; what is seen of it is bounded."""
    fill(path, 11_000)
    before = path.read_bytes()
    assert texts(path) == [str(number) for number in range(1_000, 11_000)]
    assert path.read_bytes() == before


def test_long_file_that_is_no_history_is_not_shortened(path: Path) -> None:
    """CFCAT_HISTORY may name something else by mistake: none of it is lost."""
    write(path, b"dear diary\n" * 20_000)
    assert stored(path) == []
    assert path.stat().st_size == 11 * 20_000


def test_of_a_huge_file_the_end_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; a line cut at the limit is not an entry."""
    fill(path, 100)
    line = b'{"host": "mail.example:25", "text": "99"}\n'
    for size in (len(line) * 3, len(line) * 3 + 5, len(line) * 4 - 1):
        monkeypatch.setattr(module, "MAX_READ_BYTES", size)
        assert texts(path) == ["97", "98", "99"]


def test_sessions_notice_that_the_file_was_replaced(path: Path) -> None:
    """What one adds after another has shortened or deleted it is in the new one."""
    one, two = History(path), History(path)
    one.add(MAIL, "1")
    fill(path, 11_001)
    two.load()
    one.add(MAIL, "2")
    assert texts(path)[-2:] == ["11000", "2"]
    path.unlink()
    one.add(MAIL, "3")
    assert texts(path) == ["3"]


def test_entry_waits_for_who_is_shortening_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes to the file that is there then, not to the one that was opened before."""
    history = History(path)
    history.add(MAIL, "old")
    waiting = threading.Event()
    flock = fcntl.flock

    def tell(fd: int, how: int) -> None:
        waiting.set()
        flock(fd, how)

    with path.open("rb") as file:
        flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", tell)
        adding = threading.Thread(target=history.add, args=(MAIL, "new"), daemon=True)
        adding.start()
        assert waiting.wait(10)
        (path.parent / "shortened").write_bytes(path.read_bytes())
        os.replace(path.parent / "shortened", path)
    adding.join(10)
    assert texts(path) == ["old", "new"]


def test_file_is_not_shortened_while_another_session_writes(path: Path) -> None:
    """The next one that starts will do it; there is no hurry, and nothing to be said."""
    fill(path, 11_001)
    before = path.stat().st_ino
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert len(stored(path)) == 10_000
        assert path.stat().st_ino == before
    stored(path)
    assert path.stat().st_ino != before


def test_file_is_not_shortened_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions start at once: the later finds that the file which it was to shorten is not there any more."""
    fill(path, 11_001)
    newer = path.parent / "newer"
    fill(newer, 1)
    flock = fcntl.flock

    def be_late(fd: int, how: int) -> None:
        os.replace(newer, path)
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", be_late)
    assert len(stored(path)) == 10_000
    assert texts(path) == ["0"]


def test_file_system_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems: what can be done without a lock is done; another error is one."""

    def refuse(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for number in (errno.ENOLCK, errno.EOPNOTSUPP):
        History(path).add(MAIL, str(number))
    assert texts(path) == [str(errno.ENOLCK), str(errno.EOPNOTSUPP)]
    path.unlink()
    number = errno.EIO
    check_warning(History(path), "input/output error")


WRITER = """
import sys
from cfcat.repl.screen import history
history.MAX_ENTRIES, history.SLACK_ENTRIES = 1_000_000, 0
path, name, count, shorten = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "shorten"
mine = history.History(path)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    mine.add(name, str(number))
    if shorten:
        mine._file.shorten()
assert mine.take_warning() == ""
"""


def test_concurrent_sessions_lose_nothing(path: Path) -> None:
    """Three processes append and one of them rewrites the file all the time: every entry of each is there, in order."""
    count = 100
    arguments = [("a", "no"), ("b", "no"), ("c", "shorten")]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, name, str(count), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, how in arguments
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.communicate("go\n", timeout=30)
        assert [writer.returncode for writer in writers] == [0, 0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    entries = stored(path)
    for name, _ in arguments:
        assert [entry.text for entry in entries if entry.host == name] == [str(number) for number in range(count)]
    assert os.listdir(path.parent) == ["history"]


# --------------------------------------------------------------------------------------------- what goes wrong


def check_warning(history: History, reason: str) -> None:
    """One warning, once, in the form of all messages; the session's own history goes on."""
    history.load()
    history.add(MAIL, "one")
    history.add(MAIL, "two")
    warning = history.take_warning()
    assert warning.startswith("history is not kept: ")
    assert warning.endswith(reason)
    assert warning.isprintable()
    history.add(MAIL, "three")
    history.load()
    assert history.take_warning() == ""
    assert history.for_host(MAIL) == ["one", "two", "three"]


def test_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Neither read nor written, whatever it leads to."""
    target = tmp_path / "target"
    target.write_bytes(b'{"host": "h", "text": "x"}\n')
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    check_warning(History(path), f"{path}: a symbolic link is not followed")
    assert target.read_bytes() == b'{"host": "h", "text": "x"}\n'


def test_folder_in_its_place(path: Path) -> None:
    """A folder is no file."""
    path.mkdir(parents=True)
    check_warning(History(path), f"{path}: not a regular file")


def test_fifo_is_not_waited_for(path: Path) -> None:
    """Opening one would last until somebody opens its other end."""
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    check_warning(History(path), f"{path}: not a regular file")


def test_device_is_left_as_it_is() -> None:
    """Above all its permissions."""
    before = mode(Path("/dev/null"))
    check_warning(History("/dev/null"), "/dev/null: not a regular file")
    assert mode(Path("/dev/null")) == before


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_bytes(b"")
    check_warning(History(tmp_path / "file" / "history"), "not a directory")


NOBODY = 54321
# What is imported after the change of user might not be readable any more.
UNPRIVILEGED = f"""
import os, resource, sys
import platformdirs
from cfcat.repl.screen.history import History
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
history = History(sys.argv[1]) if sys.argv[1] else History.of_user()
history.load()
history.add("h:1", "one")
print(history.take_warning())
history.add("h:1", "two")
print(history.take_warning(), history.for_host("h:1"))
"""


def warned(path: str, folder: Path, limit_bytes: int = 1 << 20, **environment: str) -> str:
    """What a user who is not root is warned of, in this folder: once, and what was typed can be found."""
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, path, str(limit_bytes)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, then = done.stdout.splitlines()
    assert then == " ['one', 'two']"
    return first


def test_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """There is no file yet, and there will be none."""
    tmp_path.chmod(0o555)
    assert warned("history", tmp_path) == "history is not kept: history: permission denied"
    tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == []


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is not written to either."""
    (tmp_path / "history").touch(0)
    tmp_path.chmod(0o555)
    assert warned("history", tmp_path) == "history is not kept: history: permission denied"
    tmp_path.chmod(0o755)


def test_row_92_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    """HOME is read-only: the session has a history as long as it lasts."""
    tmp_path.chmod(0o555)
    warning = warned("", tmp_path, HOME=str(tmp_path))
    tmp_path.chmod(0o755)
    assert warning.startswith(f"history is not kept: {tmp_path}")
    assert warning.endswith(": permission denied")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who has no home at all")
def test_row_92_home_unset(tmp_path: Path) -> None:
    """No variable, and no entry in the user database: no folder called ~ is made anywhere."""
    tmp_path.chmod(0o777)
    assert warned("", tmp_path) == "history is not kept: no home directory"
    assert os.listdir(tmp_path) == []


def test_full_disk(tmp_path: Path) -> None:
    """The file may not grow: a warning, and what was written in part harms nothing later."""
    tmp_path.chmod(0o777)
    assert warned("history", tmp_path, 20) == "history is not kept: history: file too large"
    path = tmp_path / "history"
    assert path.stat().st_size == 20
    History(path).add(MAIL, "later")
    assert texts(path) == ["later"]


# ------------------------------------------------------------------------------------------------- its place


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and no variable that says otherwise."""
    for name in ("XDG_STATE_HOME", "CFCAT_HISTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_place_is_the_state_folder(home: Path) -> None:
    """Of the user, with all folders that it takes; the last one is private."""
    History.of_user().add(MAIL, "EHLO me")
    (path,) = home.rglob("history")
    if sys.platform == "linux":
        assert path == home / ".local" / "state" / "cfcat" / "history"
    assert texts(path) == ["EHLO me"]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="older versions of platformdirs ask for it on Linux only")
def test_xdg_state_home_is_the_state_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is set; a relative one is against its specification, and makes nothing in the current folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "elsewhere"))
    History.of_user().add(MAIL, "EHLO me")
    assert texts(home / "elsewhere" / "cfcat" / "history") == ["EHLO me"]
    (home / "here").mkdir()
    monkeypatch.chdir(home / "here")
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    History.of_user().add(MAIL, "EHLO me")
    assert os.listdir() == []


def test_cfcat_history_names_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before everything else; also from the home."""
    for value in (str(home / "my" / "lines"), "~/my/lines"):
        monkeypatch.setenv("CFCAT_HISTORY", value)
        History.of_user().add(MAIL, value)
    assert [path.name for path in home.rglob("*")] == ["my", "lines"]
    assert texts(home / "my" / "lines") == [str(home / "my" / "lines"), "~/my/lines"]


@pytest.mark.parametrize("value", ["", "/dev/null"])
def test_no_history_is_wanted(home: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Nothing is written, and nothing is said."""
    monkeypatch.setenv("CFCAT_HISTORY", value)
    history = History.of_user()
    history.add(MAIL, "EHLO me")
    assert history.load() == [(MAIL, "EHLO me")]
    assert history.take_warning() == ""
    assert not home.exists()


@pytest.mark.parametrize("old", [True, False])
def test_no_home_in_every_version_of_platformdirs(monkeypatch: pytest.MonkeyPatch, home: Path, old: bool) -> None:
    """An exception, or a path that is none."""

    def user_state_path(name: str) -> Path:
        if old:
            return Path("~/.local/state", name)
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_state_path", user_state_path)
    history = History.of_user()
    assert history.take_warning() == "history is not kept: no home directory"
    history.add(MAIL, "EHLO me")
    assert history.for_host(MAIL) == ["EHLO me"]
    assert history.take_warning() == ""


def test_platformdirs_is_loaded_when_it_is_needed() -> None:
    """A script, and a session whose file has a name, do without."""
    code = "import sys, cfcat.repl.screen.history as h; h.History.of_user(); assert 'platformdirs' not in sys.modules"
    environment = {**os.environ, "CFCAT_HISTORY": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
