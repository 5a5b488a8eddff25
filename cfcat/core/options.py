"""Options of `connect()`.

Pure, and cheap: TLS and policies are loaded where one is given. Source: rules O1-O6, V15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from cfcat.core.choices import SECURE_TRANSPORTS, AddressFamily, SecureTransport
from cfcat.errors import OptionsError

if TYPE_CHECKING:
    import ssl

    from cfcat.core.watched import Capture
    from cfcat.core.workers import WorkersPolicy
    from cfcat.proxies.url import Proxy
    from cfcat.record.events import Connecting
    from cfcat.record.making import Trace

__all__ = ["AddressFamily", "Changes", "SecureTransport", "SocketOptions", "connecting", "make_options"]

ADDRESS_FAMILIES = (None, "ipv4", "ipv6")

BAD_SECURE_TRANSPORT = "Unsupported value in secureTransport socket option: "
TLS_NOT_ASKED_FOR = "tls needs secure_transport: 'on' begins with TLS, 'starttls' allows start_tls()"
NEGATIVE_HIGH_WATER = "The value cannot be converted because it is negative and this API expects a positive bigint."


class _Fields(NamedTuple):
    """Named tuples are frozen and cost nothing to make: each run loads this."""

    secure_transport: SecureTransport = "off"
    allow_half_open: bool = False
    high_water_mark: int | None = None
    tls: ssl.SSLContext | None = None
    expected_server_hostname: str | None = None
    address_family: AddressFamily | None = None
    connect_timeout: float | None = None
    ignore_unexpected_eof: bool = False
    policy: WorkersPolicy | None = None
    trace: Trace | None = None
    via: Proxy | None = None
    capture: Capture | None = None
    source: str | None = None
    resolve: Mapping[str, Sequence[str]] | None = None
    proxy_protocol: str | None = None


class Changes(TypedDict, total=False):
    """The keywords of `connect()`, for type checkers: the fields of `SocketOptions`."""

    secure_transport: SecureTransport
    allow_half_open: bool
    high_water_mark: int | None
    tls: ssl.SSLContext | None
    expected_server_hostname: str | None
    address_family: AddressFamily | None
    connect_timeout: float | None
    ignore_unexpected_eof: bool
    policy: WorkersPolicy | None
    trace: Trace | None
    via: Proxy | None
    capture: Capture | None
    source: str | None
    resolve: Mapping[str, Sequence[str]] | None
    proxy_protocol: str | None


class SocketOptions(_Fields):
    """Options of `connect()`; all may be left out (O1).

    `secure_transport`: "off", "on" (TLS from the first byte) or "starttls" (clear text until `start_tls()`).
    `allow_half_open`: may we go on writing after the peer's EOF has been read (H1, H4)?
    `high_water_mark`: bytes that `writer.desired_size` starts from (O4); 1 if None.
    Beyond the reference: `tls` is the context to use instead of the verifying default; `connect_timeout`, in
    seconds, is one deadline for resolving, connecting and handshake, and one for a later upgrade;
    `expected_server_hostname` replaces the address's host in SNI and certificate check; `address_family`
    limits the addresses tried; `ignore_unexpected_eof` takes a FIN without close_notify for the end of a TLS stream;
    `policy` judges each resolved address and limits the number of open sockets: blocked addresses are not tried
    (P1-P9); `trace` is told how the connection is made, as it happens: a `cfcat.core.trace.TraceEvent` each (what it
    raises goes to the event loop's exception handler, and changes nothing); `via` is the `proxy()` to go through, and
    then both ends are those of the connection to it; `capture` is told all that goes over the wire
    (`cfcat.core.watched`); `source` is the address of ours to connect from, with a port or
    without; `resolve` has the addresses of names, `{"host:443": ["127.0.0.1"]}`, and TLS knows the name all the same;
    `proxy_protocol` is "1" or "2", or "1:192.0.2.7:5000", to begin with HAProxy's header.
    """

    __slots__ = ()

    def __new__(
        cls,
        *,
        secure_transport: SecureTransport = "off",
        allow_half_open: bool = False,
        high_water_mark: int | None = None,
        tls: ssl.SSLContext | None = None,
        expected_server_hostname: str | None = None,
        address_family: AddressFamily | None = None,
        connect_timeout: float | None = None,
        ignore_unexpected_eof: bool = False,
        policy: WorkersPolicy | None = None,
        trace: Trace | None = None,
        via: Proxy | None = None,
        capture: Capture | None = None,
        source: str | None = None,
        resolve: Mapping[str, Sequence[str]] | None = None,
        proxy_protocol: str | None = None,
    ) -> SocketOptions:
        """Raises OptionsError for a wrong value, TypeError for a wrong type (V15)."""
        options = super().__new__(
            cls,
            secure_transport,
            allow_half_open,
            high_water_mark,
            tls,
            expected_server_hostname,
            address_family,
            connect_timeout,
            ignore_unexpected_eof,
            policy,
            trace,
            via,
            capture,
            source,
            resolve,
            proxy_protocol,
        )
        options._check()
        return options

    def _check(self) -> None:
        if self.secure_transport not in SECURE_TRANSPORTS:
            value = "null" if self.secure_transport is None else str(self.secure_transport)
            raise OptionsError(BAD_SECURE_TRANSPORT + value)
        if self.allow_half_open not in (False, True):
            raise TypeError(f"allow_half_open must be bool, not {type(self.allow_half_open).__name__}")
        self._expect("high_water_mark", int, type(None))
        if isinstance(self.high_water_mark, bool):
            raise TypeError("high_water_mark must be int, not bool")
        if self.high_water_mark is not None and self.high_water_mark < 0:
            raise OptionsError(NEGATIVE_HIGH_WATER)
        self._expect_made_by("ssl", "SSLContext", "tls", "make_tls_context()")
        self._expect("expected_server_hostname", str, type(None))
        if self.address_family not in ADDRESS_FAMILIES:
            raise OptionsError(f"address_family must be 'ipv4' or 'ipv6', not {self.address_family!r}")
        self._expect_made_by("cfcat.core.workers", "WorkersPolicy", "policy", "WorkersPolicy()")
        self._expect_made_by("cfcat.proxies.url", "Proxy", "via", "proxy(URL)")
        if self.policy is not None and self.via is not None:
            raise OptionsError("a policy is about addresses that we connect to: it excludes a proxy")
        self._expect("source", str, type(None))
        self._expect("proxy_protocol", str, type(None))
        if self.proxy_protocol is not None:
            from cfcat.proxies.header import parse_claim  # lazy: most connections have none

            parse_claim(self.proxy_protocol)
        if self.source is not None or self.resolve is not None:
            from cfcat.core.route import check_resolve, parse_source  # lazy: most connections have neither

            check_resolve(self.resolve or {})
            parse_source(self.source or ":1")
        if self.trace is not None and not callable(self.trace):
            raise TypeError(f"trace must be callable, not {type(self.trace).__name__}")
        self._expect("connect_timeout", int, float, type(None))
        if self.connect_timeout is not None and not self.connect_timeout > 0:
            raise OptionsError(f"connect_timeout must be a positive number, not {self.connect_timeout}")

    def _expect(self, name: str, *types: type) -> None:
        value = getattr(self, name)
        if not isinstance(value, types):
            wanted = " or ".join("None" if t is type(None) else t.__name__ for t in types)
            raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")

    def _expect_made_by(self, module: str, kind: str, name: str, maker: str) -> None:
        """A class that is loaded only where there is something that may be one of its instances."""
        value = getattr(self, name)
        if value is not None and not isinstance(value, getattr(import_module(module), kind)):
            raise TypeError(f"{name} must be {kind} or None, as {maker} makes it, not {type(value).__name__}")

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:
        """For copies and pickles: all are keywords."""
        return (), self._asdict()


DEFAULTS = SocketOptions()


def make_options(options: SocketOptions | Mapping[str, object] | None, changes: Mapping[str, Any]) -> SocketOptions:
    """Join the two ways of giving options.

    Raises:
        OptionsError, TypeError: as `SocketOptions`.
        TypeError: there is no such option (V18, not O1): ignored, `secureTransport` would mean clear text.
        OptionsError: there is a context, and nothing says when TLS begins (V18): that would be clear text, too.
    """
    if not changes and (options is None or isinstance(options, SocketOptions)):
        return options or DEFAULTS
    if options is None:
        base: dict[str, Any] = {}
    elif isinstance(options, SocketOptions):
        base = options._asdict()
    elif isinstance(options, Mapping):
        base = dict(options)
    else:
        raise TypeError(f"options must be SocketOptions or a mapping, not {type(options).__name__}")
    merged = {**base, **changes}
    for name in merged:
        if name not in SocketOptions._fields:
            raise TypeError(_unknown(name))
    if merged.get("allow_half_open", False) is None:
        del merged["allow_half_open"]  # not given
    made = SocketOptions(**merged)
    if made.tls is not None and "secure_transport" not in merged:
        raise OptionsError(TLS_NOT_ASKED_FOR)
    return made


def _unknown(name: object) -> str:
    """What is said of an option that there is not: the reference's own names are spelt otherwise here."""
    from cfcat.core.spelling import option_instead  # lazy: a mistake only

    return f"connect() has no option {name!r}{option_instead(str(name), SocketOptions._fields)}"


def connecting(target: str, options: SocketOptions, protocol: str | None, *, no_shutdown: bool = False) -> Connecting:
    """What is told before `connect(target, options)`. `protocol`: the protocol of the STARTTLS dialog that is run
    first; `no_shutdown`: our end is not passed on.
    """
    from cfcat.record.events import Connecting  # lazy: most runs tell nobody

    return Connecting(
        target,
        options.secure_transport,
        options.allow_half_open,
        options.expected_server_hostname,
        protocol,
        options.ignore_unexpected_eof,
        no_shutdown,
        None if options.via is None else options.via.text,
    )
