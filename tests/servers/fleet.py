"""Every daemon by name, in every variant, each started when it is first asked for and then shared by all tests.

    def test_something(daemon: Fleet) -> None:
        smtp = daemon("smtp", cert="expired")
        ...  # connect to smtp.port

The names are those of the protocols, the same that `openssl s_client -starttls` has where there is an upgrade (but it
does not know NATS).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Literal, get_args

from tests.helpers.certs import CertSet, Kind
from tests.servers import chat, daemons, data, mail, news
from tests.servers.launcher import ClientAuth, Daemon, Launch, Tls, Variant, launched

__all__ = ["ALL", "DIRECT", "ONE_VERSION", "UPGRADING", "Fleet", "Name"]

# With an upgrade from clear text to TLS within the protocol.
Upgrading = Literal[
    "smtp",
    "lmtp",
    "imap",
    "pop3",
    "sieve",
    "ftp",
    "nntp",
    "xmpp",
    "xmpp-server",
    "irc",
    "ldap",
    "postgres",
    "mysql",
    "nats",
]
# With TLS from the first byte only.
Direct = Literal["redis", "mqtt", "http", "gopher"]
Name = Literal[Upgrading, Direct]

UPGRADING: tuple[Upgrading, ...] = get_args(Upgrading)
DIRECT: tuple[Direct, ...] = get_args(Direct)
ALL: tuple[Name, ...] = (*UPGRADING, *DIRECT)
# Those that can be told to speak one version of TLS only.
ONE_VERSION: tuple[Name, ...] = tuple(name for name in ALL if name != "nats")

_FUNCTIONS: dict[Name, Callable[[Launch], Daemon]] = {
    "smtp": mail.exim,
    "lmtp": mail.dovecot_lmtp,
    "imap": mail.dovecot_imap,
    "pop3": mail.dovecot_pop3,
    "sieve": mail.dovecot_sieve,
    "ftp": news.vsftpd,
    "nntp": news.nnrpd,
    "xmpp": chat.prosody_c2s,
    "xmpp-server": chat.prosody_s2s,
    "irc": chat.inspircd,
    "ldap": data.slapd,
    "postgres": data.postgres,
    "mysql": data.mariadb,
    "nats": data.nats,
    "redis": data.redis,
    "mqtt": chat.mosquitto,
    "http": daemons.nginx,
    "gopher": daemons.gophernicus,
}
# How many may run at a time: each takes 10 to 50 MB. Beyond that the one not asked for the longest is stopped.
_LIMIT = 32


class Fleet:
    """The daemons that run by now; call it for one, leave its `with` block to stop all."""

    def __init__(self, certs: CertSet) -> None:
        self._certs = certs
        self._running: OrderedDict[tuple[Name, Variant], tuple[AbstractContextManager[Daemon], Daemon]] = OrderedDict()

    def __call__(
        self,
        name: Name,
        *,
        cert: Kind = "good",
        tls: Tls = "any",
        client_auth: ClientAuth = "no",
        host: str | None = None,
    ) -> Daemon:
        """Return the daemon in this variant (see `Variant`), running; skip the test where it is not installed.

        It is shared: leave it as it is. It runs at least until the test ends.

        Raises:
            NotPossible: it cannot be set up like that.
        """
        key = name, Variant(cert, tls, client_auth, host)
        if key not in self._running:
            while len(self._running) >= _LIMIT:
                self._stop(next(iter(self._running)))
            running = launched(_FUNCTIONS[name], self._certs, key[1])
            self._running[key] = running, running.__enter__()
        self._running.move_to_end(key)
        return self._running[key][1]

    def _stop(self, key: tuple[Name, Variant]) -> None:
        self._running.pop(key)[0].__exit__(None, None, None)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as every:  # all of them, even if stopping one raises
            for running, _ in self._running.values():
                every.push(running)
            self._running.clear()
