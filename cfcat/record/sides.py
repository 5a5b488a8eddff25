"""The events of the tap: what its client is and does, and how either side ends.

Pure. What is told of its server are the events of any connection that is dialed.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from cfcat.record.fact import Fact

__all__ = ["SIDE_ENDS", "ClientCame", "ClientTls", "Side", "SideEnd", "SideEnded"]

Side = Literal["client", "server"]
SideEnd = Literal["end", "close_notify", "fin", "cut", "reset", "broken"]
# How a side of the tap ended, in words.
SIDE_ENDS: dict[SideEnd, str] = {
    "end": "ended (FIN)",
    "close_notify": "ended (close_notify)",
    "fin": "closed TCP behind it (FIN)",
    "cut": "ended without close_notify (FIN): TLS is cut short",
    "reset": "reset the connection",
    "broken": "broke the connection",
}


class ClientCame(Fact):
    """A client has come to the tap: `ip:port` of both ends; `remote_address` is "" on a Unix socket."""

    remote_address: str
    local_address: str

    def text(self) -> str:
        """`the client is 127.0.0.1:51544, on 127.0.0.1:15432`"""
        return f"the client is {self.remote_address or 'local'}, on {self.local_address}"

    @classmethod
    def parse(cls, text: str) -> ClientCame | None:
        match = re.fullmatch(r"the client is (local|\S+), on (.+)", text, re.DOTALL)
        return match and cls("" if match[1] == "local" else match[1], match[2])


class ClientTls(Fact):
    """The tap's handshake with its client is done. `server_name`, `alpn`: what it asked for and got, "" for nothing."""

    version: str
    cipher: str
    server_name: str = ""
    alpn: str = ""

    def text(self) -> str:
        """`TLS with the client: TLSv1.3, TLS_AES_256_GCM_SHA384, for mail.example, ALPN h2`"""
        name = f", for {self.server_name}" if self.server_name else ""
        alpn = f", ALPN {self.alpn}" if self.alpn else ""
        return f"TLS with the client: {self.version}, {self.cipher}{name}{alpn}"

    @classmethod
    def parse(cls, text: str) -> ClientTls | None:
        match = re.fullmatch(r"TLS with the client: ([^,]*), ([^,]*)(?:, for (\S+))?(?:, ALPN (.+))?", text, re.DOTALL)
        return match and cls(match[1], match[2], match[3] or "", match[4] or "")


class SideEnded(Fact):
    """A side of the tap has ended, in this way, which was passed on to the other. `detail`: more about it, or ""."""

    side: Side
    how: SideEnd
    detail: str = ""

    def text(self) -> str:
        """`the client ended (FIN)`, `the server broke the connection: TLS failed: …`"""
        return f"the {self.side} {SIDE_ENDS[self.how]}" + (f": {self.detail}" if self.detail else "")

    @classmethod
    def parse(cls, text: str) -> SideEnded | None:
        for side in get_args(Side):
            for how, words in SIDE_ENDS.items():
                begin = f"the {side} {words}"
                if text == begin:
                    return cls(side, how)
                if text.startswith(f"{begin}: ") and len(text) > len(begin) + 2:
                    return cls(side, how, text[len(begin) + 2 :])
        return None
