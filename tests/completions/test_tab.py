"""Tab in bash, zsh and fish, each on a terminal: options, their values, files, hosts and ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.installed import demand, do_without
from tests.helpers.terminal import Terminal

pytestmark = pytest.mark.one_python

COMPLETIONS = Path(__file__).parents[2] / "completions"
# Where it is on Debian, and with Homebrew on the two kinds of Mac.
BASH_COMPLETION = [
    Path("/usr/share/bash-completion/bash_completion"),
    Path("/opt/homebrew/etc/profile.d/bash_completion.sh"),
    Path("/usr/local/etc/profile.d/bash_completion.sh"),
]
PROMPT = "ready$ "
# Looking all over a screen is slow; the shells draw nothing below this.
ROWS, COLUMNS = 12, 100


class Home(NamedTuple):
    """What a user has: hosts that were visited, a file, and a history with one cfcat command."""

    folder: Path
    program: Path


class Shell(NamedTuple):
    """A shell, waiting for what is typed. `erase`: the keys that empty the line."""

    term: Terminal
    erase: str

    def check(self, typed: str, *, becomes: str) -> None:
        """Typing this, with Tab in it, makes that of the line; blanks at its end do not count."""
        self.term.type(typed)
        self.term.until(lambda lines: f"{PROMPT}{becomes}" in lines)
        self._clear()

    def check_offers(self, typed: str, *offered: str) -> None:
        """Typing this, with Tab in it, shows all of these words."""
        self.term.type(typed)
        self.term.until(lambda lines: set(offered) <= set(" ".join(lines).split()))
        self._clear()

    def _clear(self) -> None:
        self.term.type(self.erase)
        self.term.until(lambda lines: lines[self.term.cursor()[0]] == PROMPT.rstrip())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    ssh = folder / ".ssh"
    ssh.mkdir()
    (ssh / "known_hosts").write_text("visited.example ssh-ed25519 AAAA\n")
    (folder / "authorities.pem").touch()
    program = folder / "bin" / "cfcat"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho started >>~/started\n")
    program.chmod(0o755)
    return Home(folder, program)


def bash(home: Home) -> tuple[list[str], str]:
    base = next((path for path in BASH_COMPLETION if path.exists()), None) or do_without("bash-completion")
    rc = home.folder / "bashrc"
    rc.write_text(
        f"PS1='{PROMPT}'\n"
        f"source {base}\nsource {COMPLETIONS}/cfcat.bash\n"
        "bind 'set bell-style none' 'set show-all-if-ambiguous on' 'set enable-bracketed-paste off'\n"
        "history -s 'cfcat --tls on earlier.example:4433'\n"
    )
    return [demand("bash"), "--noprofile", "--rcfile", str(rc), "-i"], "\x15"


def zsh(home: Home) -> tuple[list[str], str]:
    rc = home.folder / ".zshrc"
    rc.write_text(
        f"fpath=({COMPLETIONS} $fpath)\nautoload -U compinit\ncompinit -u -D\n"
        f"PS1='{PROMPT}'\nsetopt no_beep\nunsetopt prompt_sp\n"
        "print -s 'cfcat --tls on earlier.example:4433'\n"
    )
    return [demand("zsh"), "-d", "-i"], "\x15"


def fish(home: Home) -> tuple[list[str], str]:
    folder = home.folder / ".config" / "fish"
    folder.mkdir(parents=True)
    past = home.folder / ".local" / "share" / "fish" / "fish_history"
    past.parent.mkdir(parents=True)
    past.write_text("- cmd: cfcat --tls on earlier.example:4433\n  when: 1700000000\n")
    (folder / "config.fish").write_text(
        "set -g fish_greeting\n"
        f"function fish_prompt; echo -n '{PROMPT}'; end\n"
        "set -g fish_autosuggestion_enabled 0\nfunction fish_title; end\n"
        f"source {COMPLETIONS}/cfcat.fish\n"
    )
    return [demand("fish"), "-i"], "\x15"


@pytest.fixture(scope="module", params=[bash, zsh, fish], ids=lambda maker: maker.__name__)
def shell(request: pytest.FixtureRequest, home: Home) -> Iterator[Shell]:
    maker: Callable[[Home], tuple[list[str], str]] = request.param
    argv, erase = maker(home)
    term = Terminal(
        ["sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *argv],
        rows=ROWS,
        columns=COLUMNS,
        timeout_s=30,  # for all tests of the shell
        env={
            "HOME": str(home.folder),
            "PATH": os.pathsep.join((str(home.program.parent), os.environ.get("PATH", os.defpath))),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
            "HISTFILE": None,
            "XDG_CONFIG_HOME": None,
            "XDG_DATA_HOME": None,
            "ZDOTDIR": None,
        },
    )
    try:
        term.until(lambda lines: PROMPT.rstrip() in lines)
        yield Shell(term, erase)
        assert not (home.folder / "started").exists(), "Tab has started the program"
    finally:
        term.close()


def test_option(shell: Shell) -> None:
    """What only one option begins with."""
    shell.check("cfcat --ignore-u\t", becomes="cfcat --ignore-unexpected-eof")


def test_options(shell: Shell) -> None:
    """All that begin so."""
    shell.check_offers("cfcat --tls-\t\t", "--tls-min", "--tls-max")


def test_value(shell: Shell) -> None:
    """One of few."""
    shell.check("cfcat --tls star\t", becomes="cfcat --tls starttls")


def test_protocol(shell: Shell) -> None:
    """Also where it stands behind an equals sign."""
    shell.check("cfcat --starttls=postg\t", becomes="cfcat --starttls=postgres")


def test_file(shell: Shell) -> None:
    shell.check("cfcat --cacert auth\t", becomes="cfcat --cacert authorities.pem")


def test_host_of_known_hosts(shell: Shell) -> None:
    """With a colon, and without a blank behind it: the port comes next."""
    shell.check("cfcat -v visi\t70", becomes="cfcat -v visited.example:70")


def test_earlier_target(shell: Shell) -> None:
    """The history has host and port."""
    shell.check("cfcat earl\t", becomes="cfcat earlier.example:4433")


def test_port_behind_the_colon(shell: Shell) -> None:
    shell.check("cfcat visited.example:112\t", becomes="cfcat visited.example:11211")


def test_port_as_a_word(shell: Shell) -> None:
    """nc's habit: `host port`; the value of an option is not the host."""
    shell.check("cfcat --tls on visited.example 112\t", becomes="cfcat --tls on visited.example 11211")


def test_nothing_behind_the_target(shell: Shell) -> None:
    """There is no third word."""
    shell.check("cfcat visited.example:70 auth\tx", becomes="cfcat visited.example:70 authx")
