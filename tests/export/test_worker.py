"""The text of a Worker, to the letter where it differs from one to the next."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.errors import CommandError
from cfcat.export.worker import worker_module
from cfcat.record.events import Connecting, Moved
from cfcat.record.recording import Conversation, PeerEnd, SendStep, StartTls, Step
from tests.helpers.installed import demand
from tests.record.test_recording import MAIL, STEPS, recorded

HEAD = """\
//   mail.example:587
// It connects as the session did, sends the same bytes after the same answers, and
// responds with all that it has read; 502 and a reason where the server does otherwise.
//
// Secrets are not in here. These bindings must have them (wrangler secret put NAME):
//   SECRET_1  what was sent after "AUTH PLAIN "
// @ts-check
import { connect } from "cloudflare:sockets";

/** @typedef {{ SECRET_1: string }} Env */
"""
BODY = r"""
  server = new Conversation(connect("mail.example:587", { secureTransport: "starttls", allowHalfOpen: false }), heard);
  await server.match(/(?<![^\n])220 /);
  server.send("STARTTLS\r\n");
  await server.lines(2, "220");
  await server.startTls();
  server.send("AUTH PLAIN ", env.SECRET_1, "\r\n");
  await server.lines(1);
  server.send("QUIT\r\n");
  server.end();
  await server.rest();
  await server.close();
  return new Blob(heard);
}
"""


def body(module: str) -> str:
    """The conversation, without what all Workers have."""
    return module.partition("  let server;\n")[2].partition("\n/** The longest silence")[0]


def test_golden() -> None:
    """A session with an upgrade, a secret and both ends."""
    module = worker_module([Conversation(MAIL, STEPS)])
    assert module.partition("\n")[2].startswith(HEAD)
    assert body(module) == BODY


def test_several_connections() -> None:
    """One after the other, each with its options."""
    other = Connecting("h:1", "on", True, ignore_unexpected_eof=True)
    module = worker_module([Conversation(Connecting("h:2")), Conversation(other)])
    assert body(module).splitlines()[:6] == [
        "",
        '  server = new Conversation(connect("h:2", { secureTransport: "off", allowHalfOpen: false }), heard);',
        "  await server.close();",
        "",
        '  server = new Conversation(connect("h:1", { secureTransport: "on", allowHalfOpen: true }), heard, true);',
        "  await server.close();",
    ]


@pytest.mark.parametrize(
    ("connecting", "argument"),
    [
        (MAIL, ""),
        (Connecting("192.0.2.7:25", "starttls"), ""),
        (Connecting("[::1]:25", "starttls"), '{ expectedServerHostname: "::1" }'),
        (Connecting("h:25", "starttls", server_name="n.example"), '{ expectedServerHostname: "n.example" }'),
    ],
)
def test_whom_the_upgrade_verifies(connecting: Connecting, argument: str) -> None:
    """The host of connect(), unless --sni names another; an IPv6 address without its brackets (S11)."""
    assert f"  await server.startTls({argument});\n" in worker_module([Conversation(connecting, [StartTls()])])


def test_name_that_connect_cannot_verify() -> None:
    with pytest.raises(CommandError, match="no other name"):
        worker_module([Conversation(Connecting("h:443", "on", server_name="n.example"))])


def test_target_that_nobody_typed() -> None:
    """A transcript may be forged: what is in it stays in its quotes and in its comment."""
    target = '"});\u2028x();//*/`${1}'
    module = worker_module([Conversation(Connecting(target))])
    assert module.isascii()
    assert 'connect("\\"});\\u2028x();//*/`${1}", {' in module
    assert len([line for line in module.splitlines() if line.startswith('//   "')]) == 1


SECRETS = [
    (b"AUTH PLAIN hunter2\r\n", "SECRET_1"),
    (b"PASS hunter2\r\n", "SECRET_1"),
    (b"a LOGIN me hunter2\r\n", "SECRET_1"),
    (b"AUTH LOGIN\r\nbWU=\r\nhunter2\r\n", "SECRET_2"),
    (b"*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n", "SECRET_1"),
    (b"Authorization: Basic hunter2\r\n", "SECRET_1"),
]


@pytest.mark.parametrize(("sent", "last"), SECRETS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_secrets_are_no_literals(sent: bytes, last: str, size: int) -> None:
    """In none of the ways in which one is said, in however many pieces it was sent."""
    chunks = [Moved("sent", sent[at : at + size], False) for at in range(0, len(sent), size)]
    module = worker_module(recorded(MAIL, *chunks).conversations())
    assert "hunter2" not in module
    assert b"hunter2".hex() not in module
    assert sorted(set(re.findall(r"SECRET_\d", module)))[-1] == last


def test_a_blank_at_the_beginning_makes_no_binding() -> None:
    """Indented text is sent as it was."""
    recorder = recorded(MAIL, Moved("sent", b"  indented\r\n", False))
    assert 'server.send("  indented\\r\\n");' in worker_module(recorder.conversations())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=300)))
def test_any_conversation_is_ascii_without_control_characters(chunks: list[bytes]) -> None:
    """Whatever was sent."""
    module = worker_module([Conversation(MAIL, [SendStep([bytearray(chunk)]) for chunk in chunks])])
    assert module.isascii()
    assert module.replace("\n", "").isprintable()


def test_syntax(tmp_path: Path) -> None:
    """By node, which does not run it."""
    made = tmp_path / "worker.mjs"
    sends: list[Step] = [
        SendStep([bytearray(bytes(range(256)))]),
        SendStep([bytearray("é\u2028\\`${}\r\n".encode() * 20)]),
        PeerEnd(),
    ]
    steps = [*STEPS[:-1], *sends]
    made.write_text(worker_module([Conversation(MAIL, steps)]))
    done = subprocess.run([demand("node"), "--check", made], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
