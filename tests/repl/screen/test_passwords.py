"""SEC-R29: what a server asks for by a prompt for a password is not seen, stored or suggested."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.peers import Peer, serve
from tests.helpers.terminal import terminal
from tests.pipe.tools import until
from tests.repl.screens import repl

pytestmark = pytest.mark.one_python


def login(conn: Peer) -> None:
    conn.send(b"login: ")
    conn.recv_until(b"\n")
    conn.send(b"Password: ")
    conn.recv_until(b"\n")
    conn.send(b"\r\n$ ")
    conn.recv_until_eof()


@pytest.mark.parametrize("term", [None, "dumb"])
def test_a_password_is_not_echoed(tmp_path: Path, term: str | None) -> None:
    """Neither while it is typed nor above the prompt; the name before it and the command after it are."""
    history = tmp_path / "history"
    env: dict[str, str | None] = {"CFCAT_HISTORY": str(history)}
    if term is not None:
        env["TERM"] = term
    with serve(login) as server:
        if term is None:
            with repl(server, env=env) as it:
                it.expect("login:")
                it.type("joe\r")
                it.expect("Password:")
                it.type("\x1dhunt")  # Ctrl-] types no colon here
                it.expect("> ****")
                it.type("er2\r")
                it.expect("$")
                it.type("ls\r")
                until(lambda: server.received == b"joe\r\nhunter2\r\nls\r\n")
                it.expect("> ls")
                it.quit()
                output = it.term.output
        else:
            with terminal(server.address, env=env) as plain:
                plain.expect_screen("login:")
                plain.type("joe\r")
                plain.expect_screen("Password:")
                plain.type("hunter2\r")
                plain.expect_screen("$")
                plain.type("ls\r")
                until(lambda: server.received == b"joe\r\nhunter2\r\nls\r\n")
                plain.type(":quit\r")
                assert plain.finish() == 0
                assert plain.attributes() == plain.attributes_before
                output = plain.output
    assert b"joe" in output
    assert b"hunter2" not in output
    assert not history.exists() or "hunter2" not in history.read_text()


@pytest.mark.parametrize("term", [None, "dumb"])
def test_a_secret_is_asked_for(tmp_path: Path, term: str | None) -> None:
    """`:secret`: the next line is neither shown nor stored, and no command; Ctrl-C, and nothing is sent."""
    history = tmp_path / "history"
    env: dict[str, str | None] = {"CFCAT_HISTORY": str(history)}
    if term is not None:
        env["TERM"] = term
    with serve(Peer.recv_until_eof) as server, terminal(server.address, env=env) as it:
        it.expect_screen("connected to" if term else f"{server.address}>")
        it.type(":secret Code:\r")
        it.until(lambda lines: any(line.startswith("Code:") for line in lines))
        it.type("\x03")
        it.expect_screen("no secret was given; nothing was sent")
        it.type(":secret Word:\r")
        it.until(lambda lines: any(line.startswith("Word:") for line in lines))
        it.type(":quit 1\r")
        until(lambda: server.received == b":quit 1\r\n")
        it.type("seen\r")
        until(lambda: server.received == b":quit 1\r\nseen\r\n")
        it.type(":quit\r")
        assert it.finish() == 0
        output = it.output
    assert b":quit 1" not in output
    assert b"seen" in output
    assert not history.exists() or ":quit 1" not in history.read_text()
