"""What one command line asks for, typed and checked: a run, a check of a target, or the export of a transcript.

Pure. It knows neither flags nor the parser: `cli` makes one of these from the flags, `run` carries it out, and other
callers can create a Request directly.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from cfcat.program.modes import Mode, choose_mode
from cfcat.program.output import OutputOptions
from cfcat.program.process import kind_of_stdin
from cfcat.program.values import check_target

if TYPE_CHECKING:
    import re

    from cfcat.core.address import Target
    from cfcat.core.choices import AcceptTls, AddressFamily, SecureTransport, TlsVersion
    from cfcat.core.clients import ListenTo
    from cfcat.core.options import SocketOptions
    from cfcat.pipe.pump import PumpOptions
    from cfcat.protocols import Protocol
    from cfcat.proxies.url import Proxy
    from cfcat.repl.settings import Settings
    from cfcat.tap.relay import TapTls

__all__ = [
    "DEFAULT_CONNECT_TIMEOUT_S",
    "REPLAY_WAIT_S",
    "CheckRequest",
    "ExportRequest",
    "ListenRequest",
    "ProxyRequest",
    "ReplayRequest",
    "Request",
    "TapRequest",
    "TlsRequest",
    "plain_request",
    "tap_request",
]

# 30 s covers four SYN retransmissions on Linux (at 1, 3, 7 and 15 s). nc: none; curl: 300 s.
DEFAULT_CONNECT_TIMEOUT_S = 30.0
REPLAY_WAIT_S = 10.0  # as `replaying.player.WAIT_S`


NO_VARIABLES: Mapping[str, str] = {}


class TlsRequest(NamedTuple):
    """What the TLS context is to be made of, as `make_tls_context` takes it. No file has been read yet."""

    cacert: str | None = None
    insecure: bool = False
    cert: str | None = None
    key: str | None = None
    alpn: tuple[str, ...] = ()
    tls_min: TlsVersion = "1.2"
    tls_max: TlsVersion | None = None
    ciphers: str = "DEFAULT"  # OpenSSL's own list


class ListenRequest(NamedTuple):
    """`-l`: where to listen. `client_ca`: whose certificates clients need. `ca_out`: the file for the authority of a
    certificate that is made for this run, and `names`: whom that is for, too.
    """

    to: ListenTo
    client_ca: str | None = None
    ca_out: str | None = None
    names: tuple[str, ...] = ()


class ReplayRequest(NamedTuple):
    """`--replay`: as the client of `target`, or with `listen` as the server of who comes there.

    `connection`: which one of the transcript; None: the first. `ignored`: what may differ. `wait_s`: for what is to
    come. `options`: how to dial; the run adds context, proxy and trace. `tls`: what a context is made of.
    """

    transcript: str
    target: Target
    options: SocketOptions
    tls: TlsRequest
    output: OutputOptions
    ignored: tuple[re.Pattern[bytes], ...] = ()
    connection: int | None = None
    wait_s: float = REPLAY_WAIT_S
    listen: ListenRequest | None = None
    proxy: ProxyRequest | None = None


class ProxyRequest(NamedTuple):
    """`--proxy`. `proxy`: None for what the environment names. `cacert`: a file of authorities that vouch for it."""

    proxy: Proxy | None
    cacert: str | None = None


class Request(NamedTuple):
    """A run. `target`: host:port, or where to listen.

    `options`: how to connect; the run adds the context, the policy and the trace, which may fail or have something to
    say. `pump`: who ends when, in pipe mode and in a script. `settings`: how a session begins; None in pipe mode.
    `tls`: None where there is no TLS. `protocol`: whose dialog comes before TLS. `helo`: the name that EHLO says in
    it, or None for ours. `export`: the file that the run is exported to. `workers`: pipe mode connects only where a
    Worker could (a session has a setting for it). `raw`: a terminal gets control characters too. `listen`: accept in
    place of connecting. `proxy`: what to go through. `wait_s`: try to connect for so long; None: once. `script`: the
    file of the lines; None: stdin. `variables`: what `${NAME}` may stand for in a session.
    """

    target: str
    mode: Mode
    options: SocketOptions
    pump: PumpOptions
    output: OutputOptions
    settings: Settings | None = None
    tls: TlsRequest | None = None
    protocol: Protocol | None = None
    helo: str | None = None
    export: str | None = None
    workers: bool = False
    raw: bool = False
    listen: ListenRequest | None = None
    proxy: ProxyRequest | None = None
    wait_s: float | None = None
    script: str | None = None
    variables: Mapping[str, str] = NO_VARIABLES


class TapRequest(NamedTuple):
    """`--tap`: between the clients that come to `listen` and the server at `target`.

    `options`: how to dial; the run adds the proxy. `tls`: what the server's context is made of. `ca_out`: the file
    for the authority of what clients see. `quiet`: show nothing. `once`: end with the first connection.
    """

    listen: ListenTo
    target: Target
    options: SocketOptions
    sides: TapTls
    tls: TlsRequest
    output: OutputOptions
    ca_out: str | None = None
    proxy: ProxyRequest | None = None
    quiet: bool = False
    once: bool = False


def tap_request(
    where: Target,
    hosts: tuple[str, ...],
    target: Target,
    options: SocketOptions,
    tls: SecureTransport | None,
    accept: AcceptTls,
    dialog: Protocol | None,
) -> TapRequest:
    """What `--tap`, `--tls`, `--accept-tls` and `--starttls` ask for.

    Without `--tls` the server's side follows the client's; where `--accept-tls` settles the client's it has no TLS of
    ours: "on" is for the client alone, and "off" passes everything.
    """
    from cfcat.core.clients import ListenTo  # lazy: most runs are no tap
    from cfcat.tap.relay import TapTls

    server: Literal["follow", "on", "off"] = "follow" if accept == "auto" else "off"
    if tls == "on" or tls == "off":
        server = tls
    to = ListenTo(where, hosts, keep=True)
    return TapRequest(
        to,
        target,
        options,
        TapTls(server, accept, None if dialog is None else dialog.title),
        TlsRequest(),
        OutputOptions(),
    )


def plain_request(target: str, port: str | None = None, *, closed: Collection[int]) -> Request | None:
    """What `cfcat TARGET [PORT]` asks for; None where that is a session, whose settings are the parser's affair.

    `closed`: which of the descriptors 0 to 2 are not there.

    Raises:
        UsageError: there is no such target.
    """
    address = check_target(target, port)
    if choose_mode(kind_of_stdin(closed), os.isatty(1)) is not Mode.PIPE:
        return None
    from cfcat.core.options import SocketOptions  # lazy: as in `cli`
    from cfcat.pipe.pump import PumpOptions

    options = SocketOptions(connect_timeout=DEFAULT_CONNECT_TIMEOUT_S)
    return Request(address.text, Mode.PIPE, options, PumpOptions(), OutputOptions())


class CheckRequest(NamedTuple):
    """`--check-workers`: could a Worker connect there?"""

    target: Target
    family: AddressFamily | None
    timeout_s: float
    json: bool


class ExportRequest(NamedTuple):
    """`--from TRANSCRIPT --export FILE`."""

    transcript: str
    export: str
