"""Clients one after the other, for pipes and sessions.

`Clients.next()` begins to listen if need be, and waits for a client. Unless `keep` is set it then stops listening, so
that a second client is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from cfcat.core.accepting import OUT_OF_SOMETHING_S, Listener
from cfcat.core.address import Target
from cfcat.core.listen import Accepted as Connection
from cfcat.core.options import SocketOptions
from cfcat.core.sockets import Socket
from cfcat.core.waiting import in_time, settled
from cfcat.errors import ConnectTimeout, ListenError
from cfcat.record.events import Accepted, Listening, NotAccepted
from cfcat.record.subscribers import Subscribers

__all__ = ["Clients", "ListenTo"]


class ListenTo(NamedTuple):
    """Where to listen: `target`, or its port at each of `hosts`. `keep`: go on listening when a client has come.

    `wait_s`: how long a client may take to come; None: for ever. `reads_header`: clients begin with a PROXY header, and
    are whom that names.
    """

    target: Target
    hosts: tuple[str, ...] = ()
    keep: bool = False
    wait_s: float | None = None
    reads_header: bool = False


class Clients:
    """The clients that come to one address. `events` are told each time that listening begins, of each client, and of
    one that has to wait.
    """

    def __init__(self, to: ListenTo, events: Subscribers) -> None:
        self.keep = to.keep
        self._to = to
        self._events = events
        self._listener: Listener | None = None

    async def next(self, options: SocketOptions) -> Socket:
        """Return the next client's socket; under TLS its `opened` is still to come. Cancelling loses no client.

        Raises:
            ListenError: nobody can listen there; or, without `keep`, the client that is there cannot be accepted.
            ConnectTimeout: nobody came in time.
            ProxyError: the client did not send a PROXY header.
        """
        try:
            listener = await self._listen(options)
            try:
                accepted = await in_time(self._to.wait_s, self._take(listener), lost=listener.give_back)
            except TimeoutError as error:
                text = f"{self._to.target.text}: no client came within {self._to.wait_s:g} s"
                raise ConnectTimeout(text, text) from error
            if self._to.reads_header:
                from cfcat.core.named import named  # lazy: most clients come without a proxy

                accepted = await named(accepted, options.connect_timeout)
            socket = listener.adopt(accepted)
        finally:
            if not self.keep:
                self.close()
        self._events.tell(Accepted(*socket.ends))
        return socket

    async def _listen(self, options: SocketOptions) -> Listener:
        if self._listener is None:
            listener = Listener(self._to.target, options, hosts=self._to.hosts)
            await listener.start()
            self._listener = listener
            self._events.tell(Listening(listener.local_addresses))
        self._listener.use(options)
        return self._listener

    async def _take(self, listener: Listener) -> Connection:
        """With `keep`, a client that cannot be accepted for now is waited for, and told of once."""
        is_told = False
        while True:
            try:
                return await listener.take()
            except ListenError as error:
                if not self.keep:
                    raise
                if not is_told:
                    self._events.tell(NotAccepted(error.message))
                    is_told = True
            await settled((), OUT_OF_SOMETHING_S)

    def close(self) -> None:
        """Listen no more; the clients that have come stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
