"""The tests against the built wheel, on several Pythons, with the oldest and the newest allowed dependencies.

    python -m tests.matrix python3.11 python3.12 python3.13 [-- tests/core tests/program]

Part of the release checklist, not of every test run: it fetches each dependency twice for each Python. The tests run in
an unpacked source archive from which the package itself has been taken out, so that the wheel is what they import.
Prints one line for each environment; the status is 0 if every one has passed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
# What a part of the tests needs is in all of them; servers, shells and gates are left to the ordinary run.
CHOSEN = ("tests/core", "tests/protocols", "tests/report", "tests/program")


def requirements() -> tuple[list[str], list[str]]:
    """What the package needs, and what the tests need besides."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    testing = project["optional-dependencies"]["test"]
    return project["dependencies"], [line for line in testing if not line.startswith(("ruff", "mypy", "hatchling"))]


def oldest(needed: list[str]) -> Iterator[str]:
    """Each requirement at its lower bound."""
    for requirement in needed:
        match = re.match(r"([\w-]+)>=([\d.]+)", requirement)
        assert match is not None, f"{requirement}: no lower bound"
        yield f"{match[1]}=={match[2]}"


def run(*command: str | Path, cwd: Path = PROJECT) -> str:
    """Run to the end; return all output. Raises CalledProcessError with it."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Wheel, and the source tree without the package."""
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, "-t", "wheel", "-t", "sdist")
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    run("tar", "-xzf", archive, cwd=folder)
    tree = folder / archive.name.removesuffix(".tar.gz")
    shutil.rmtree(tree / "cfcat")
    return wheel, tree


def try_in(folder: Path, python: str, pins: list[str], wheel: Path, tree: Path, chosen: list[str]) -> str:
    """Make an environment in `folder`, test in it; return pytest's last line. Raises CalledProcessError."""
    run(python, "-m", "venv", folder)
    own = folder / "bin" / "python"
    run(own, "-m", "pip", "install", "-q", wheel, *pins, *requirements()[1])
    report = run(own, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, cwd=tree)
    return report.strip().splitlines()[-1]


def main(arguments: list[str]) -> int:
    """Run the whole matrix."""
    pythons, _, chosen = " ".join(arguments).partition("--")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="cfcat-matrix-") as name:
        folder = Path(name)
        wheel, tree = build(folder)
        pins = {"oldest": list(oldest(requirements()[0])), "newest": []}
        for python in pythons.split() or [sys.executable]:
            for number, age in enumerate(pins):
                environment = folder / f"{Path(python).name}-{number}"
                try:
                    line = try_in(environment, python, pins[age], wheel, tree, chosen.split() or list(CHOSEN))
                except subprocess.CalledProcessError as error:
                    failed += 1
                    line = f"FAILED: {error.cmd}\n{error.stdout[-6000:]}"
                finally:
                    shutil.rmtree(environment, ignore_errors=True)
                print(f"{python}, {age} dependencies: {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
