"""What is handed out: wheel and source archive, looked into, and the wheel installed where nothing else is."""

from __future__ import annotations

import email
import email.message
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import cfcat
from tests.documents.examples import PAGES
from tests.helpers.peers import serve

PROJECT = Path(__file__).parents[1]
SHARED = {
    **{f"share/man/man{page[-1]}/{page}": f"man/{page}" for page in PAGES},
    "share/bash-completion/completions/cfcat": "completions/cfcat.bash",
    "share/zsh/site-functions/_cfcat": "completions/_cfcat",
    "share/fish/vendor_completions.d/cfcat.fish": "completions/cfcat.fish",
}
# What is in the source archive besides the package and the tests.
SOURCES = {
    *("pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "PKG-INFO", ".ci/run"),
    *SHARED.values(),
}


def run(*command: str | Path, cwd: Path = PROJECT, env: dict[str, str] | None = None, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, input=stdin, capture_output=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout


def build(project: Path, folder: Path, *targets: str) -> None:
    chosen = [word for target in targets for word in ("-t", target)]
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, *chosen, cwd=project)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both."""
    folder = tmp_path_factory.mktemp("built")
    build(PROJECT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"cfcat-{cfcat.__version__}-py3-none-any.whl"


def package_files() -> set[str]:
    paths = (path for path in (PROJECT / "cfcat").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(PROJECT)) for path in paths}


def test_files_of_the_wheel(wheel: Path) -> None:
    """The package with `py.typed` and the schema, manual and completions at their standard places, and no more."""
    base = f"cfcat-{cfcat.__version__}"
    info = {
        f"{base}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == package_files() | info | {f"{base}.data/data/{path}" for path in SHARED}
        for path, source in SHARED.items():
            assert archive.read(f"{base}.data/data/{path}") == (PROJECT / source).read_bytes()
    assert {"cfcat/py.typed", "cfcat/report/report.schema.json", "cfcat/record/events.schema.json"} <= package_files()


def test_metadata(wheel: Path) -> None:
    """What an index shows, and what an installer needs."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"cfcat-{cfcat.__version__}.dist-info/METADATA").decode()
    metadata: email.message.Message = email.message_from_string(text)
    assert (metadata["Name"], metadata["Version"]) == ("cfcat", cfcat.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (PROJECT / "README.md").read_text()
    assert metadata["Project-URL"]
    assert metadata["Summary"]
    assert {"Typing :: Typed", "Environment :: Console"} <= set(metadata.get_all("Classifier", []))
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(line.split(">")[0] for line in needed) == [
        "idna",
        "platformdirs",
        "prompt-toolkit",
        "rich",
        "trustme",
        "truststore",
        "typer<0.29,",
    ]


def test_source_archive(built: Path, wheel: Path, tmp_path: Path) -> None:
    """It has the tests and all that they need; the wheel that is built from it is the same to the byte."""
    base = f"cfcat-{cfcat.__version__}"
    with tarfile.open(built / f"{base}.tar.gz") as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    run("tar", "-xzf", built / f"{base}.tar.gz", cwd=tmp_path)
    assert names >= SOURCES | package_files() | {"tests/test_wheel.py", "tests/conformance/scenarios/tls.json"}
    assert not [name for name in names if name.endswith(".pyc") or name.startswith((".venv", ".git/"))]
    build(tmp_path / base, tmp_path, "wheel")
    same = (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()
    assert same


def test_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """In a new environment: the program runs there, from there, and manual and completions are where others look.

    The other packages are this environment's own, so that nothing has to be fetched.
    """
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python, program = environment / "bin" / "python", environment / "bin" / "cfcat"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-compile",
        wheel,
    )
    for path in SHARED:
        assert (environment / path).is_file()
    env = {"PYTHONPATH": sysconfig.get_path("purelib")}
    where = run(python, "-c", "import cfcat; print(cfcat.__file__)", cwd=tmp_path, env=env).decode()
    assert where.startswith(str(environment))
    assert run(program, "-V", cwd=tmp_path, env=env) == f"cfcat {cfcat.__version__}\n".encode()
    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        assert run(program, server.address, cwd=tmp_path, env=env, stdin=b"there and back") == b"there and back"
