"""`cfcat -l` on a terminal: the server is typed by hand, and a real mail client talks to it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.helpers.installed import demand
from tests.helpers.terminal import Terminal, terminal

pytestmark = pytest.mark.one_python


def address_of(term: Terminal) -> str:
    """Where it says that it listens."""
    term.expect_screen("listening on ")
    found = re.search(r"listening on (127\.0\.0\.1:\d+)", "\n".join(term.lines()))
    assert found is not None
    return found[1]


def test_swaks_sends_a_mail_whose_server_is_typed(tmp_path: Path) -> None:
    """STARTTLS is played, then each answer is typed when the client's line has come; no line is lost."""
    demand("swaks")
    with terminal("-l", "0", "--starttls", "smtp", timeout_s=30, columns=100) as term:
        address = address_of(term)
        swaks = ["swaks", "--server", address, "--tls", "--to", "you@mail.example", "--from", "me@me.example"]
        with subprocess.Popen(
            [*swaks, "--ehlo", "me.example", "--body", "by hand"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as client:
            try:
                for said, answer in (
                    ("EHLO me.example", "250 mail.example"),
                    ("MAIL FROM:", "250 OK"),
                    ("RCPT TO:", "250 OK"),
                    ("DATA", "354 go on"),
                    ("by hand", "250 queued as 1"),
                    ("QUIT", "221 bye"),
                ):
                    term.expect_screen(said)
                    term.type(answer + "\r")
                output, _ = client.communicate(timeout=20)
            finally:
                client.kill()
        assert client.returncode == 0, output.decode()
        assert b"250 queued as 1" in output
        term.expect_screen("[closed]")  # swaks leaves without close_notify, which is told
        term.type("\x04")
        term.finish()


def test_the_prompt_has_the_client_and_ctrl_d_ends(tmp_path: Path) -> None:
    """A line that is typed goes to the client; on a terminal its end is the end of both."""
    with terminal("-l", "0", columns=100) as term:
        address = address_of(term)
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as client:
            local = client.getsockname()
            term.expect_screen(f"from 127.0.0.1:{local[1]}>")
            term.type("hello\r")
            assert client.recv(100) == b"hello\r\n"
            client.sendall(b"who is there?\r\n")
            term.expect_screen("who is there?")
        term.expect_screen("[closed]")
        term.type("\x04")
        assert term.finish() == 0


def test_ctrl_c_ends_the_wait_for_the_first_client() -> None:
    """Nobody has come: there is no session yet."""
    with terminal("-l", "0", columns=100) as term:
        address_of(term)
        term.type("\x03")
        assert term.finish() == -signal.SIGINT
