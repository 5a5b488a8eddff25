"""A proxy, parsed from its URL: `socks5h://user:password@10.0.0.1:1080`.

Pure. An error about a URL quotes no part of it, because any part may be a password.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from cfcat.core.address import Target, format_address, is_ipv6, parse_address
from cfcat.errors import AddressError, OptionsError

if TYPE_CHECKING:
    import ssl

__all__ = ["SCHEMES", "Proxy", "Scheme", "proxy"]

Scheme = Literal["socks5", "socks5h", "socks4", "socks4a", "http", "https"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
RESOLVING_HERE = frozenset({"socks5", "socks4"})
DEFAULT_PORT, HTTPS_PORT = 1080, 443  # curl's
MAX_CREDENTIAL_BYTES = 255  # RFC 1929 §2
HOST_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+)(?::([0-9]*))?")


class Proxy(NamedTuple):
    """A proxy to go through: the result of `proxy()`. It does not show its credentials.

    `scheme`: its protocol, and who resolves the target's name: the proxy ("socks5h", "socks4a", "http", "https") or we
    ("socks5", "socks4"). `user`: None where it gets no credentials. `tls`: the context for "https"; None: the default
    one, which verifies.
    """

    scheme: Scheme
    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        """`host:port`, as messages call it."""
        return format_address(self.host, self.port)

    @property
    def text(self) -> str:
        """Its URL, without the credentials."""
        return f"{self.scheme}://{self.address}"

    @property
    def resolves_here(self) -> bool:
        """Do we resolve the target's name? Otherwise it goes to the proxy, and no resolver of ours sees it."""
        return self.scheme in RESOLVING_HERE

    @property
    def has_ipv6(self) -> bool:
        """Can it be asked for an IPv6 address?"""
        return self.scheme not in ("socks4", "socks4a")

    @property
    def has_passwords(self) -> bool:
        """Does its protocol know them?"""
        return self.scheme not in ("socks4", "socks4a")

    def __repr__(self) -> str:
        return f"<Proxy {self.text}>"

    def check(self, target: Target, family: str | None) -> None:
        """Raise OptionsError for a target that this proxy cannot reach. `family`: the one that was asked for."""
        if "%" in target.host:
            raise OptionsError(f"{target.text}: the zone of an address means nothing to a proxy")
        if not self.has_ipv6 and is_ipv6(target.host):
            raise OptionsError(f"{target.text}: SOCKS 4 has no IPv6 addresses; socks5:// has")
        if self.scheme == "socks4" and family == "ipv6":
            raise OptionsError("SOCKS 4 has no IPv6 addresses; socks5:// has")


def proxy(
    url: str, *, user: str | None = None, password: str | None = None, tls: ssl.SSLContext | None = None
) -> Proxy:
    """The proxy of a URL, for `connect(via=…)`: socks5, socks5h, socks4, socks4a, http or https.

    `user`, `password`: the credentials where the URL has none, or has no password; a URL has them percent-encoded.
    `tls`: the context for an https proxy; the default one verifies its certificate.

    Raises:
        OptionsError: it is no such URL, or the protocol cannot carry these credentials.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise OptionsError(f"the URL of a proxy begins with its scheme: {', '.join(f'{name}://' for name in SCHEMES)}")
    known = next((name for name in SCHEMES if name == scheme.lower()), None)
    if known is None:
        raise OptionsError(f"the scheme of a proxy is one of {', '.join(SCHEMES)}")
    authority, *tail = re.split(r"(?=[/?#])", rest, maxsplit=1)
    if tail not in ([], ["/"]):
        raise OptionsError("the URL of a proxy ends behind its port; in a password, / ? # @ are %2F %3F %23 %40")
    given, at, place = authority.rpartition("@")
    if at:
        from urllib.parse import unquote  # lazy: most URLs have no credentials

        user, colon, secret = (unquote(part, errors="surrogateescape") for part in given.partition(":"))
        password = secret if colon else password
    if not user and not password:
        user = password = None
    elif user is None:
        user = ""
    host, port = _place(place, HTTPS_PORT if known == "https" else DEFAULT_PORT)
    made = Proxy(known, host, port, user, password, tls)
    _check_credentials(made)
    return made


def _place(text: str, default_port: int) -> tuple[str, int]:
    """Host, without brackets, and port."""
    match = HOST_PORT.fullmatch(text)
    if match is None:
        raise OptionsError("the URL of a proxy has no host, or no number as its port")
    try:
        target = parse_address(f"{match[1]}:{match[2] or default_port}")
    except AddressError as error:
        raise OptionsError("the URL of a proxy has no usable host and port") from error
    if not target.port:
        raise OptionsError("the port of a proxy is a number from 1 to 65535")
    return target.host, target.port


def _check_credentials(made: Proxy) -> None:
    user, password = made.user or "", made.password or ""
    if made.scheme in ("socks5", "socks5h"):
        if any(len(text.encode("utf-8", "surrogateescape")) > MAX_CREDENTIAL_BYTES for text in (user, password)):
            raise OptionsError(f"user name and password of SOCKS 5 have {MAX_CREDENTIAL_BYTES} bytes at most")
    elif not made.has_passwords:
        if password:
            raise OptionsError("SOCKS 4 has user names, and no passwords")
        if "\0" in user:
            raise OptionsError("a user name of SOCKS 4 has no zero byte")
    elif ":" in user:
        raise OptionsError("a user name for HTTP has no colon")
