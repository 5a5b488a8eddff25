"""Rows 40 and 51 of the fault matrix, for every call of a session: each use of each fails once in each of its ways.

`python -m tests.faults.torture SCENE CALL FAULT` shows one of them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from cfcat import LostError, connect, make_tls_context
from cfcat.core.tls import TlsCodec
from tests.faults.torture import judge, play, prepare, torture
from tests.faults.torture_expected import faults_of
from tests.faults.torture_scene import SCENES, Scene
from tests.faults.ways import at_once, injecting, make_way, patched
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat
from tests.report.form import check_form

pytestmark = pytest.mark.one_python
LASTING = [SCENES[name] for name in ("plain-pipe", "upgraded-pipe", "upgraded-script")]
WORKERS = 2


# One of these imports is the last before the signal; with options the program has some 150 of its own, without 50.
IMPORTS = (1, 2, 5, 15, 40)
IMPORTS_WITH_OPTIONS = (1, 2, 5, 15, 40, 80, 120)
COUNT_IMPORTS = """
import os, signal
import cfcat.__main__  # its first statement is what counts
class Countdown:
    left = {count}
    def find_spec(self, name, path, target=None):
        Countdown.left -= 1
        if Countdown.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Countdown())
"""
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """Processes that have no threads, and may fork."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context, initializer=prepare) as pool:
        yield pool


def check(
    scene: Scene,
    certs: CertSet,
    workers: ProcessPoolExecutor,
    faults_of: Callable[[str], Iterable[str]],
    *,
    lasting: bool = False,
) -> None:
    """Find out what a session calls, and torture each."""
    sound = workers.submit(play, scene, certs).result()
    assert judge(scene, None, sound) == []
    assert sound.uses is not None
    assert {"stdin", "wire"} <= {end for call in sound.uses for end in call.partition(".")[0].split("-")}
    jobs = [
        workers.submit(torture, scene, certs, call, what, uses, lasting=lasting)
        for call, uses in sound.uses.items()
        for what in faults_of(call)
    ]
    complaints = [complaint for job in jobs for complaint in job.result()]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_row_40_51_each_use_of_each_call_fails_once(scene: Scene, certs: CertSet, workers: ProcessPoolExecutor) -> None:
    """Never a hang, a traceback, a wrong status, a lost or repeated byte, an open descriptor, a changed flag."""
    check(scene, certs, workers, lambda call: faults_of(call, scene))


@pytest.mark.parametrize("scene", LASTING, ids=lambda scene: scene.name)
def test_row_40_51_each_use_of_each_call_fails_and_all_after_it(
    scene: Scene, certs: CertSet, workers: ProcessPoolExecutor
) -> None:
    """The same where it goes on: what is done about a failure may fail too."""
    check(scene, certs, workers, lambda call: faults_of(call, scene, lasting=True), lasting=True)


@pytest.mark.parametrize("scene", LASTING, ids=lambda scene: scene.name)
def test_row_41_43_44_signal_at_each_use_of_each_call(
    scene: Scene, certs: CertSet, workers: ProcessPoolExecutor
) -> None:
    """Dead by the signal itself, without a word, whatever it comes into; what was printed is right."""
    check(scene, certs, workers, lambda call: SIGNALS if scene.way == "plain" else SIGNALS[:1])


def test_row_41_signal_at_an_import() -> None:
    """The same while the program is still being loaded."""
    runs = [partial(cfcat, "127.0.0.1:1", by=patched(COUNT_IMPORTS.format(count=count))) for count in IMPORTS]
    runs += [
        partial(cfcat, "-q", "1", "127.0.0.1:1", by=patched(COUNT_IMPORTS.format(count=count)))
        for count in IMPORTS_WITH_OPTIONS
    ]
    for result in at_once(runs):
        assert result == Result(b"", "", -signal.SIGINT)


# By strace, in the real program under TLS 1.3: the first calls are those of the handshake.
SYSTEM_FAULTS = {
    "connect:error=ETIMEDOUT": (7, "connection timed out"),
    "sendto:error=EPIPE:when=1": (35, "broken pipe during the TLS handshake"),
    "recvfrom:error=ECONNRESET:when=1": (35, "connection reset by peer during the TLS handshake"),
    "sendto:error=ETIMEDOUT:when=3": (55, "connection timed out while sending"),
    "recvfrom:error=ETIMEDOUT:when=3": (56, "connection timed out while receiving"),
    "readv:error=EIO:when=1": (26, "input/output error"),
}


def test_row_40_51_the_system_itself_says_so(certs: CertSet) -> None:
    """A second opinion: the same statuses where the calls are made to fail from outside."""
    way = make_way("tls1.3", certs)
    options = [*way.options, "--shutdown", "now"]  # an end that is held looks at the socket before, which counts

    def script(conn: Peer) -> None:
        with suppress(OSError):  # the client gives up
            conn.start_tls(certs.server_context(version=way.version), may_fail=True)
            conn.send(conn.recv_until_eof())

    with serve(script) as server:
        runs = [partial(cfcat, *options, server.address, stdin=b"data", by=injecting(each)) for each in SYSTEM_FAULTS]
        results = at_once(runs)
    for fault, result, (status, text) in zip(SYSTEM_FAULTS, results, SYSTEM_FAULTS.values(), strict=True):
        assert (fault, result.status, result.stdout) == (fault, status, b"")
        said, _ = check_form(result.stderr)
        assert said.endswith(text)


async def test_row_51_no_memory_for_what_tls_answers(certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to KeyUpdate, an alert: rarer than any session that is tortured. What came with it is read first."""
    sent = threading.Event()

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(version=ssl.TLSVersion.TLSv1_2))  # which has no tickets to be read first
        conn.send(b"hello")
        sent.set()
        conn.recv_until_eof()

    def answer(codec: TlsCodec) -> bytes:
        raise MemoryError

    with serve(script) as server:
        socket = connect(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        await socket.opened
        assert await asyncio.to_thread(sent.wait, 10)  # a read that waits asks for answers too
        monkeypatch.setattr(TlsCodec, "answer", answer)
        reader = socket.readable.get_reader()
        assert await reader.read() == b"hello"
        with pytest.raises(LostError, match="out of memory"):
            await reader.read()
        with pytest.raises(LostError, match="out of memory"):
            await socket.closed
