"""`python -m tests.documents`: make the generated parts of all documents anew, in place."""

from __future__ import annotations

from tests.documents.files import PROJECT, made

for path, text in made().items():
    if path.read_text() != text:
        path.write_text(text)
        print(path.relative_to(PROJECT))
