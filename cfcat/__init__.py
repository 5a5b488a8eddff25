"""netcat with the socket semantics of Cloudflare Workers' `connect()`.

    from cfcat import connect

    async with connect("gopher.floodgap.com:70") as socket:
        writer = socket.writable.get_writer()
        await writer.write(b"\\r\\n")
        await writer.close()
        async for chunk in socket.readable:
            print(chunk.decode(), end="")

The names are loaded when they are first used (PEP 562): `import cfcat` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cfcat.core.accepting import Listener as Listener
    from cfcat.core.accepting import listen as listen
    from cfcat.core.accepting import serve as serve
    from cfcat.core.address import SocketAddress as SocketAddress
    from cfcat.core.context import make_tls_context as make_tls_context
    from cfcat.core.options import SocketOptions as SocketOptions
    from cfcat.core.promise import Promise as Promise
    from cfcat.core.ready import wait_for as wait_for
    from cfcat.core.server_context import make_server_context as make_server_context
    from cfcat.core.sockets import Socket as Socket
    from cfcat.core.sockets import SocketInfo as SocketInfo
    from cfcat.core.sockets import connect as connect
    from cfcat.core.workers import Judgement as Judgement
    from cfcat.core.workers import Verdict as Verdict
    from cfcat.core.workers import WorkersPolicy as WorkersPolicy
    from cfcat.errors import AbortError as AbortError
    from cfcat.errors import AddressError as AddressError
    from cfcat.errors import BlockedError as BlockedError
    from cfcat.errors import CaFileError as CaFileError
    from cfcat.errors import CancelError as CancelError
    from cfcat.errors import CertificateError as CertificateError
    from cfcat.errors import ClientCertificateError as ClientCertificateError
    from cfcat.errors import ClosedError as ClosedError
    from cfcat.errors import ConnectError as ConnectError
    from cfcat.errors import ConnectTimeout as ConnectTimeout
    from cfcat.errors import DifferenceError as DifferenceError
    from cfcat.errors import EarlyEndError as EarlyEndError
    from cfcat.errors import IncompleteReadError as IncompleteReadError
    from cfcat.errors import InjectionError as InjectionError
    from cfcat.errors import LimitError as LimitError
    from cfcat.errors import ListenError as ListenError
    from cfcat.errors import LockError as LockError
    from cfcat.errors import LostError as LostError
    from cfcat.errors import OptionsError as OptionsError
    from cfcat.errors import ProxyError as ProxyError
    from cfcat.errors import ResolveError as ResolveError
    from cfcat.errors import SocketError as SocketError
    from cfcat.errors import TlsError as TlsError
    from cfcat.errors import TranscriptError as TranscriptError
    from cfcat.errors import TruncatedError as TruncatedError
    from cfcat.errors import UpgradeError as UpgradeError
    from cfcat.errors import WrongTypeError as WrongTypeError
    from cfcat.proxies.url import Proxy as Proxy
    from cfcat.proxies.url import proxy as proxy
    from cfcat.replaying.server import replay as replay

__version__ = "0.2.0"

_HOME = {
    "cfcat.core.accepting": ("Listener", "listen", "serve"),
    "cfcat.core.address": ("SocketAddress",),
    "cfcat.core.context": ("make_tls_context",),
    "cfcat.core.options": ("SocketOptions",),
    "cfcat.core.promise": ("Promise",),
    "cfcat.core.ready": ("wait_for",),
    "cfcat.core.server_context": ("make_server_context",),
    "cfcat.core.sockets": ("Socket", "SocketInfo", "connect"),
    "cfcat.core.workers": ("Judgement", "Verdict", "WorkersPolicy"),
    "cfcat.errors": (
        "AbortError",
        "AddressError",
        "BlockedError",
        "CaFileError",
        "CancelError",
        "CertificateError",
        "ClientCertificateError",
        "ClosedError",
        "ConnectError",
        "ConnectTimeout",
        "DifferenceError",
        "EarlyEndError",
        "IncompleteReadError",
        "InjectionError",
        "LimitError",
        "ListenError",
        "LockError",
        "LostError",
        "OptionsError",
        "ProxyError",
        "ResolveError",
        "SocketError",
        "TlsError",
        "TranscriptError",
        "TruncatedError",
        "UpgradeError",
        "WrongTypeError",
    ),
    "cfcat.proxies.url": ("Proxy", "proxy"),
    "cfcat.replaying.server": ("replay",),
}

__all__ = ["__version__", *(name for names in _HOME.values() for name in names)]


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
