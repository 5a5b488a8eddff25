"""`python -m tests.pictures`: make the README's pictures anew, in place."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.helpers.certs import make_certs
from tests.pictures import FOLDER, PICTURES
from tests.servers.fleet import Fleet

with tempfile.TemporaryDirectory() as name:
    certs = make_certs(Path(name))
    with Fleet(certs) as fleet:
        for file, draw in PICTURES.items():
            (FOLDER / file).write_text(draw(fleet, certs, Path(name)))
            print(FOLDER / file)
