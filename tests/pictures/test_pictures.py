"""The README's pictures show what the program shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.examples import README
from tests.helpers.certs import CertSet
from tests.pictures import FOLDER, PICTURES
from tests.servers.fleet import Fleet

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_a_run_shows_today(name: str, daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """`python -m tests.pictures` makes it anew. It fetches nothing: the only address in it names its format."""
    drawn = PICTURES[name](daemon, certs, tmp_path)
    assert drawn == (FOLDER / name).read_text()
    assert re.findall(r"\w+://[^\"]*", drawn) == ["http://www.w3.org/2000/svg"]
    assert f"](tests/pictures/{name})" in README
