"""Command lines in the tests' own process, and a server to which nobody connects."""

from __future__ import annotations

import pytest

from cfcat.program.start import run
from tests.helpers.peers import Peer, serve
from tests.report.form import check_form

__all__ = ["HELP", "Command", "refuse"]

HELP = "cfcat --help"


def refuse(conn: Peer) -> None:
    raise AssertionError("connected")


class Command:
    """Command lines run in this process, in milliseconds; what is special about a process has its own tests."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def run(self, arguments: list[str]) -> tuple[int, str]:
        """Return status and stderr; nothing may be on stdout."""
        status = run(arguments)
        stdout, stderr = self._capfd.readouterr()
        assert stdout == ""
        return status, stderr

    def check_refused(self, arguments: list[str], text: str, hint: str = "") -> None:
        """Expect status 2 and this message, and no connection. In the arguments "{}" is the server, "{port}" its
        port."""
        with serve(refuse) as server:

            def fill(template: str) -> str:
                return template.format(server.address, port=server.port)

            status, stderr = self.run([fill(argument) for argument in arguments])
            assert server.connections == 0
        expected = f"cfcat: {fill(text)}\n" + (f"  hint: {fill(hint)}\n" if hint else "")
        assert (stderr, status) == (expected, 2)
        check_form(stderr)
