"""What a row of the table has to say of a protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cfcat.core.choices import TlsVersion
from cfcat.protocols.dialog import Dialog, Names

__all__ = ["Protocol"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """A row of the table.

    `name`: what options and commands take. `title`: the protocol's name in messages. `reference`: its specification.
    `port`: the registered one for clear text. `tls_ports`: those where TLS begins at once. `more_ports`: what is as
    common. `other_ports`: where the protocol is met as well; shells do not offer them.
    `client`, `server`: the halves of the dialog that leads to TLS; None where there is no upgrade.
    `max_tls`: the highest TLS version possible with this dialog, or None for any.
    `alpn`: the registered ALPN ID. It is never sent unasked: a strict server may refuse it (SEC-R8).
    `greeting`: how a server begins that takes TLS by this dialog, as a pattern; b"" where that does not tell.
    `verbs`: what is typed by hand when looking into a server; a verb may have several words. Empty for binary
    protocols and for those without verbs. None: not offered by `--proto`.
    `secrets`: patterns of lines that carry a secret; their group 1 may be shown. Letters of either case match.
    `challenge`: a pattern for a server line that asks the client for a secret.
    `has_exchanges`: secrets may come in lines of their own, after the verb and without waiting for a challenge.
    """

    name: str
    title: str
    port: int
    reference: str
    client: Callable[[Names], Dialog] | None = None
    server: Callable[[Names], Dialog] | None = None
    tls_ports: tuple[int, ...] = ()
    more_ports: tuple[int, ...] = ()
    other_ports: tuple[int, ...] = ()
    alpn: str | None = None
    max_tls: TlsVersion | None = None
    greeting: bytes = b""
    verbs: tuple[str, ...] | None = None
    secrets: tuple[bytes, ...] = ()
    challenge: bytes = b""
    has_exchanges: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports of the protocol, the registered clear-text port first."""
        return (self.port, *self.tls_ports, *self.more_ports, *self.other_ports)
