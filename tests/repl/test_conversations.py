"""No secret of any known conversation is stored in the history of a session, and none that is asked for is shown."""

from __future__ import annotations

import re

import pytest

from tests.helpers.peers import Peer, serve
from tests.protocols.conversations import CONVERSATIONS, Conversation
from tests.repl.conftest import opened

pytestmark = pytest.mark.one_python


def typed(data: bytes) -> list[str]:
    """What somebody enters to send this: a line each, or `:send` where the line ends are others."""
    if data.endswith(b"\r\n") and not re.search(rb"\r(?!\n)|(?<!\r)\n|[^\x20-\x7e\r\n]", data):
        lines = data.decode().removesuffix("\r\n").split("\r\n")
        return [":" + line if line.startswith(":") else line for line in lines]
    return [
        ":send " + "".join(f"\\x{byte:02x}" if not 0x20 < byte < 0x7F or byte == 0x5C else chr(byte) for byte in data)
    ]


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)
async def test_history_and_screen(conversation: Conversation) -> None:
    """A line with a part of a secret is not stored; the others are. What answers a prompt is not drawn."""

    def script(conn: Peer) -> None:
        for direction, data in conversation.said:
            if direction == "received":
                conn.send(data)
            else:
                conn.recv_exactly(len(data))
        conn.recv_until_eof()

    with serve(script) as server:
        proto = conversation.protocol or "auto"
        async with opened(server.address, proto=proto) as (session, face):
            heard = b""
            for direction, data in conversation.said:
                if direction == "received":
                    heard += data
                    await face.until(lambda: face.received == heard)  # noqa: B023  # it is awaited here
                    continue
                for line in typed(data):
                    if conversation.name.startswith("prompt") and line.encode() in conversation.secrets:
                        assert session.hides_input
                    await session.execute(line)
                    has_secret = any(secret in data and part(secret, line) for secret in conversation.secrets)
                    assert session.last_was_secret or not has_secret, line
                    assert not (session.last_was_secret and line.encode() in conversation.shown), line


def part(secret: bytes, line: str) -> bool:
    """Is it in this line, whole or in part?"""
    return any(piece.decode() in line for piece in re.split(rb"\r\n|\n", secret) if piece)
