"""The way in of cfcat in one file: the `-m` of `python -m zipapp`.

Python takes no shared object out of an archive, and the certificate of a listener needs one (cryptography's). So it is
unpacked when it is imported, and removed as soon as it is loaded: a listener or a tap is often ended by a signal.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NoReturn
from zipimport import zipimporter

from cfcat.__main__ import main as run

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line, and exit with its status, which zipapp's own lines would drop."""
    sys.meta_path.insert(0, _SharedObjects(sys.path[0]))
    raise SystemExit(run())


class _SharedObjects:
    """Finds shared objects in the archive, before others take a folder of type stubs beside one for the package."""

    def __init__(self, archive: str) -> None:
        self._archive = zipimporter(archive)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder`."""
        for suffix in EXTENSION_SUFFIXES:
            with contextlib.suppress(OSError):
                return _unpacked(name, self._archive.get_data(name.replace(".", "/") + suffix), suffix)
        return None


def _unpacked(name: str, data: bytes, suffix: str) -> ModuleSpec | None:
    import tempfile  # lazy: few runs need a shared object

    with tempfile.NamedTemporaryFile(prefix="cfcat-", suffix=suffix, delete=False) as file:
        file.write(data)
    return spec_from_file_location(name, file.name, loader=_Once(name, file.name))


class _Once(ExtensionFileLoader):
    """Loads a file, and removes it."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """As `ExtensionFileLoader`."""
        try:
            return super().create_module(spec)
        finally:
            Path(self.path).unlink()
