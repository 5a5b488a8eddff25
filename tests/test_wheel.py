"""What is handed out: wheel and source archive, looked into, and the wheel installed where nothing else is."""

from __future__ import annotations

import email
import email.message
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import distribution
from pathlib import Path

import pytest

import cfcat
from tests.documents.examples import EXAMPLES, PAGES
from tests.helpers.peers import serve
from tests.helpers.terminal import Terminal

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


def needed(name: str) -> Iterator[str]:
    """A package, and all that it needs, some of it more than once."""
    yield name
    for requirement in distribution(name).requires or ():
        if "extra ==" not in requirement and "platform_system ==" not in requirement:
            match = re.match(r"[\w.-]+", requirement)
            assert match is not None
            yield from needed(match[0])


def install(wheel: Path, folder: Path) -> None:
    """What `pip install --target` does, with this environment's own packages: nothing has to be fetched."""
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel)
    for name in set(needed("cfcat")) - {"cfcat"}:
        for file in distribution(name).files or ():
            if file.parts[0] != ".." and file.suffix != ".pyc":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), folder / file)


@pytest.mark.one_python
def test_one_file(wheel: Path, tmp_path: Path) -> None:
    """The README's command makes a zip that does it all alone: exit statuses, a session, package data, and a made
    certificate, for which a shared object is loaded and does not stay behind.
    """
    install(wheel, tmp_path / "app")
    (command,) = (example.text for example in EXAMPLES if "-m zipapp" in example.text)
    pip, zipapp = map(shlex.split, command.split("&&"))
    assert pip[3:] == ["install", "--target", "app", "."]
    run(sys.executable, *zipapp[1:], cwd=tmp_path)
    program = [sys.executable, "-I", "-S", str(tmp_path / "cfcat.pyz")]  # without this environment's packages
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary), "CFCAT_HISTORY": ""}

    assert run(*program, "-V") == f"cfcat {cfcat.__version__}\n".encode()
    assert subprocess.run([*program, "-z", "h"], capture_output=True, check=False, timeout=20).returncode == 2
    listen = ("-l", "0", "--tls", "on", "--ca-out", "ca.pem", "--half-open")
    listener = subprocess.Popen(
        [*program, *listen],
        cwd=tmp_path,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with listener:
        assert listener.stderr is not None
        assert listener.stdout is not None
        address = listener.stderr.readline().split()[-1].decode()
        trust = ("--cacert", "ca.pem", "--tls", "on", "--export", "worker.js")
        run(*program, *trust, address, cwd=tmp_path, env=env, stdin=b"there")
        assert listener.stdout.read() == b"there"
    assert listener.returncode == 0
    assert "export default" in (tmp_path / "worker.js").read_text()

    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        with closing(Terminal([*program, server.address], env=env)) as term:
            term.expect_screen(f"{server.address}>")
            term.type("hello\r:eof\r")
            term.expect_screen("[closed]>")
            term.type(":quit\r")
            assert term.finish() == 0
    assert list(temporary.iterdir()) == []
