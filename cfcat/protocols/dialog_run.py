"""Runs a dialog on bytes that somebody else moves: the limits, the end of the connection, and the surplus.

Any split of the peer's bytes gives the same outcome. Source: rules SEC-R1, SEC-R2, SEC-R7.
"""

from __future__ import annotations

from collections.abc import Callable

from cfcat.errors import DialogError
from cfcat.protocols.dialog import (
    MAX_MESSAGE_BYTES,
    SAID_BYTES,
    TLS_FIRST_BYTES,
    Exactly,
    Names,
    Nonsense,
    Peer,
    Send,
    Until,
    injected,
    speaks_tls,
)
from cfcat.protocols.row import Protocol
from cfcat.protocols.wrapper import HandshakeWrapper

__all__ = ["DialogRun"]

MAX_DIALOG_BYTES = 1024 * 1024  # SEC-R7


class DialogRun:
    """One half of a dialog with one peer, without I/O: the client's, or with `as_server` the server's.

    Send `to_send()`, give `feed()` what comes, and so on until `done`. When done, send what `to_send()` still has
    (MySQL's last message gets no answer), and the handshake may begin: through `wrapper`, where the dialog left one. An
    error is final; a server's last words before it are still in `to_send()`.
    """

    def __init__(self, protocol: Protocol, names: Names, *, as_server: bool = False) -> None:
        half = protocol.server if as_server else protocol.client
        if half is None:
            raise ValueError(f"{protocol.title} has no upgrade to TLS")
        self._peer: Peer = "client" if as_server else "server"
        self.done = False
        self.wrapper: HandshakeWrapper | None = None
        self.surplus = 0  # bytes after the go-ahead
        self._title = protocol.title
        self._dialog = half(names)
        self._need: Until | Exactly | None = None
        self._outgoing = bytearray()
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer without a match
        self._heard = bytearray()
        self._taken = 0  # by the dialog so far
        self._error: DialogError | None = None
        self._resume(None)

    def to_send(self) -> bytes:
        """Take the bytes that wait to be sent; b"" where there are none."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    @property
    def wanted(self) -> int:
        """How many bytes the dialog asks for next: give `feed()` no more, or what is behind counts as surplus.

        0 where it does not know the number (up to a mark), or is done.
        """
        need = self._need
        return need.size - len(self._buffer) if isinstance(need, Exactly) and not self.done else 0

    def heard(self) -> bytes:
        """Return what the dialog has listened to since the last call.

        Bytes after the go-ahead are never in it, nor those that no part of the dialog has asked for (SEC-R1).
        """
        heard = bytes(self._heard)
        self._heard.clear()
        return heard

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; b"" is the end of the connection.

        Raises:
            DialogError: it refused, left, made no sense, ended or went on for too long.
            InjectionError: there are bytes after the go-ahead, or after the request for TLS; `count` is how many so
                far.
        """
        self._judge(lambda: self._feed(memoryview(data)))

    def feed_earlier(self, data: bytes, unasked: int) -> int:
        """Take what came on the connection before this dialog began, up to 64 KiB; return how much of it was taken.

        What came first is the server's greeting. What is behind that is read on where it is among the `unasked` bytes,
        which came before anything was sent; the rest answers what was sent, and is dropped.

        Raises:
            DialogError, InjectionError: as `feed`.
        """
        self._judge(lambda: self._feed_earlier(data, unasked))
        return len(self._heard) + len(self._buffer)

    def _judge(self, feed: Callable[[], None]) -> None:
        if self._error is None:
            try:
                feed()
            except Nonsense as nonsense:
                fault = nonsense.fault or f"is not {self._title}"
                self._error = DialogError(f"the {self._peer}'s {self._what} {fault}", said=nonsense.said)
            except DialogError as error:
                self._error = error
        if self._error is None and not self.surplus:
            return
        self._buffer.clear()
        if self.surplus or self._peer == "server":
            self._outgoing.clear()  # nothing more is said
        if self._error is not None:
            self._error.said = self._error.said[:SAID_BYTES]
            raise self._error
        raise injected(self.surplus, self._peer)

    @property
    def _what(self) -> str:
        assert self._need is not None
        return self._need.what

    def _feed(self, data: memoryview) -> None:
        if not data and not self.surplus:
            raise self._closed()
        # In pieces: a gigabyte in one call must not be copied before the limits have been asked.
        for start in range(0, len(data), MAX_MESSAGE_BYTES):
            if self.done:
                self.surplus += len(data) - start
                return
            self._buffer += data[start : start + MAX_MESSAGE_BYTES]
            self._listen()

    def _feed_earlier(self, data: bytes, unasked: int) -> None:
        self._buffer += data
        self._listen(until_we_speak=True)
        if not self.done and not self._outgoing:
            return
        greeting = len(data) - len(self._buffer) - self.surplus
        more = max(0, unasked - greeting)
        del self._buffer[more:]
        self.surplus = min(self.surplus, more)
        self._listen()

    def _listen(self, *, until_we_speak: bool = False) -> None:
        """Give the dialog what it needs, as far as that is there."""
        while not self.done and not (until_we_speak and self._outgoing) and (answer := self._answer()) is not None:
            self._resume(answer)

    def _closed(self) -> DialogError:
        if self.done:
            last = "its go-ahead" if self._peer == "server" else "our go-ahead"
            return DialogError(f"the {self._peer} closed the connection after {last}")
        return DialogError(f"the {self._peer} closed the connection before its {self._what}", said=bytes(self._buffer))

    def _resume(self, answer: bytes | None) -> None:
        """Let the dialog go on to its next need of bytes, or to its end."""
        try:
            turn = next(self._dialog) if answer is None else self._dialog.send(answer)
            while isinstance(turn, Send):
                self._outgoing += turn.data
                turn = self._dialog.send(b"")
        except StopIteration as stop:
            self.wrapper = stop.value
            self.surplus = len(self._buffer)
            self._buffer.clear()
            self.done = True
            return
        except Nonsense as nonsense:
            if isinstance(self._need, Exactly):  # the first piece may be cut anywhere: add to the quotation
                nonsense.said += bytes(self._buffer[:SAID_BYTES])
            raise
        self._need = turn
        self._searched = 0

    def _answer(self) -> bytes | None:
        """Take what the dialog needs from the buffer; None where it is not all there."""
        need = self._need
        assert need is not None
        if need.first and self._buffer and self._buffer[0] not in need.first:
            if not self._taken and self._buffer[0] in TLS_FIRST_BYTES:
                raise speaks_tls(self._peer)
            raise Nonsense(bytes(self._buffer))
        limit = min(MAX_MESSAGE_BYTES, MAX_DIALOG_BYTES - self._taken)
        if isinstance(need, Exactly):
            end = need.size
        else:
            end = self._buffer.find(need.mark, self._searched) + 1
            if not end:
                self._searched = len(self._buffer)
                end = self._searched + 1  # at the earliest
        if end > limit:
            raise self._too_long(need)
        if end > len(self._buffer):
            return None
        answer = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._taken += end
        self._heard += answer
        return answer

    def _too_long(self, need: Until | Exactly) -> DialogError:
        if MAX_DIALOG_BYTES - self._taken < MAX_MESSAGE_BYTES:
            last = "go-ahead" if self._peer == "server" else "request for TLS"
            return DialogError(f"the {self._peer} sent more than 1 MiB before its {last}")
        how = "is longer than" if isinstance(need, Exactly) else "has no end within"
        return DialogError(f"the {self._peer}'s {need.what} {how} 64 KiB")
