"""What the tap's client sends, looked through for the moment at which it begins TLS."""

from __future__ import annotations

from cfcat.core.loop import Handle, running_loop
from cfcat.core.readable import ReadableStream
from cfcat.edges.descriptors import Callback
from cfcat.edges.stdin import READ_BYTES
from cfcat.errors import DialogError, SocketError, TlsError
from cfcat.pipe.flow import PeerSource
from cfcat.protocols.by_hand import check_go_ahead
from cfcat.protocols.mysql import tls_request_bytes
from cfcat.record.events import Direction
from cfcat.tap.hello import Hello, look

__all__ = ["BeginsTls", "ClientSource", "Turn"]

MAX_TURN_BYTES = 64 * 1024
HOLD_S = 0.5  # for the rest of what begins like a ClientHello: its segments come right behind each other
QUOTE_BYTES = 40  # of what a client says in place of TLS


class Turn:
    """What the client has asked last, and what the server has answered since: does it agree to TLS?"""

    def __init__(self) -> None:
        self._asked = b""
        self._answered = b""

    def take(self, direction: Direction, data: bytes) -> None:
        """Something was said."""
        if direction == "received":
            self._answered = (self._answered + data)[:MAX_TURN_BYTES]
        else:
            asked = data if self._answered else self._asked + data
            self._asked, self._answered = asked[-MAX_TURN_BYTES:], b""

    def check(self, dialog: str) -> None:
        """TLS begins now: the dialog of this protocol must have come to the server's go-ahead, and no further.

        What a request looks like and what agrees to it is known of the protocols that are text; of others something
        must have been said.

        Raises:
            DialogError: nothing was said, or the server has not agreed.
            InjectionError: the server has said more than that.
        """
        lines = self._asked.split(b"\n")
        if not self._asked:
            raise DialogError(f"the client began TLS without the dialog of {dialog}")
        check_go_ahead(lines[-1] or lines[-2], self._answered)


class BeginsTls(Exception):  # it ends a flow in order
    """The client has begun TLS; its ClientHello is the next that `readable` gives."""

    def __init__(self, hello: Hello) -> None:
        super().__init__()
        self.hello = hello


class ClientSource(PeerSource):
    """The client's bytes up to its ClientHello, where `take` raises BeginsTls. The caller holds the stream's lock.

    A ClientHello counts only where TLS can begin: at the client's first bytes, at its first behind something that the
    server has said (`server_spoke`), and behind MySQL's SSLRequest, which has no answer. So bytes that look like one
    inside of a mail pass. What begins like one is held for HOLD_S, no longer.

    `must`: clear text is an error (TlsError), and what begins like a ClientHello is held until it is one.
    """

    def __init__(self, readable: ReadableStream, *, must: bool = False) -> None:
        super().__init__(readable)
        self._stream = readable
        self._loop = running_loop()
        self._must = must
        self._may_begin = True
        self._held = b""
        self._timer: Handle | None = None
        self._is_due = False  # what is held has waited long enough
        self._callback: Callback | None = None

    def server_spoke(self) -> None:
        """The client's next bytes may be a ClientHello."""
        self._may_begin = True

    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        while self._may_begin or self._held:
            try:
                chunk = super().take(limit)
            except SocketError:
                if self._held and not self._must:
                    return self._let_go()  # the error comes again
                raise
            if chunk is None:
                return self._let_go() if self._is_due else None
            if not chunk:
                return self._let_go() if self._held and not self._must else chunk
            if (passed := self._judge(self._held + bytes(chunk))) is not None:
                return passed
        return super().take(limit)

    def _judge(self, data: bytes) -> memoryview | None:
        """What may pass on; None: it is held. Raises BeginsTls."""
        self._held = b""
        if size := tls_request_bytes(data):
            self._stream.give_back(data[size:])
            return memoryview(data)[:size]
        found = look(data)
        if isinstance(found, Hello):
            self._stream.give_back(data)
            self.unwatch()
            raise BeginsTls(found)
        self._held = data
        if found is None:
            return self._let_go()
        if self._timer is None and not self._must:
            self._timer = self._loop.call_later(HOLD_S, self._due)
        return None

    def _due(self) -> None:
        self._is_due = True
        if self._callback is not None:
            self._callback()

    def _let_go(self) -> memoryview:
        data, self._held = self._held, b""
        if self._must:
            error = TlsError("peer does not speak TLS", said=data[:QUOTE_BYTES])
            error.by_client = True
            raise error
        self._may_begin = self._is_due = False
        self._forget_timer()
        return memoryview(data)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self, callback: Callback) -> bool:
        self._callback = callback
        return super().watch(callback)

    def unwatch(self) -> None:
        self._callback = None
        super().unwatch()

    def close(self) -> None:
        """Give back what is held: nobody takes from here any more."""
        self._forget_timer()
        if self._held:
            self._stream.give_back(self._held)
            self._held = b""
