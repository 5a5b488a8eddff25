"""Rows 40 and 51 of the fault matrix, for every call of a session: each use of each fails once in each of its ways.

`python -m tests.faults.torture SCENE CALL FAULT` shows one of them.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.faults.torture import judge, play, prepare, torture
from tests.faults.torture_expected import faults_of
from tests.faults.torture_scene import SCENES, Scene
from tests.helpers.certs import CertSet

LASTING = [SCENES["plain-pipe"], SCENES["upgraded-pipe"]]
WORKERS = 2


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """Processes that have no threads, and may fork."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context, initializer=prepare) as pool:
        yield pool


def check(scene: Scene, certs: CertSet, workers: ProcessPoolExecutor, *, lasting: bool) -> None:
    """Find out what a session calls, and torture each."""
    sound = workers.submit(play, scene, certs).result()
    assert judge(scene, None, sound) == []
    assert sound.uses is not None
    calls = sorted(sound.uses)
    assert {"stdin", "wire"} <= {end for call in calls for end in call.partition(".")[0].split("-")}
    jobs = [
        workers.submit(torture, scene, certs, call, what, lasting=lasting)
        for call in calls
        for what in faults_of(call, scene, lasting=lasting)
    ]
    complaints = [complaint for job in jobs for complaint in job.result()[1]]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_row_40_51_each_use_of_each_call_fails_once(scene: Scene, certs: CertSet, workers: ProcessPoolExecutor) -> None:
    """Never a hang, a traceback, a wrong status, a lost or repeated byte, an open descriptor, a changed flag."""
    check(scene, certs, workers, lasting=False)


@pytest.mark.parametrize("scene", LASTING, ids=lambda scene: scene.name)
def test_row_40_51_each_use_of_each_call_fails_and_all_after_it(
    scene: Scene, certs: CertSet, workers: ProcessPoolExecutor
) -> None:
    """The same where it goes on: what is done about a failure may fail too."""
    check(scene, certs, workers, lasting=True)
