"""The proxy of a connection: what `--proxy` names, or the environment; its password, and whom we trust to be it.

Loaded by a run with `--proxy`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from cfcat.edges.target import proxy_in_ascii
from cfcat.errors import OptionsError, UsageError
from cfcat.program.request import ProxyRequest
from cfcat.proxies.environment import named_proxy
from cfcat.proxies.url import Proxy, proxy

if TYPE_CHECKING:
    import ssl

    from cfcat.core.address import Target

__all__ = ["Proxies"]


class Proxies:
    """Tells the proxy of each connection of a run.

    Raises:
        CaFileError: the file of authorities cannot be used.
        UsageError: a password is to be asked for, and there is no terminal.
    """

    def __init__(self, request: ProxyRequest, note: Callable[[str], object]) -> None:
        self._cacert = request.cacert
        self._note = note
        self._context: ssl.SSLContext | None = None
        self._named = None if request.proxy is None else self._complete(_with_password(request.proxy))

    @property
    def follow_environment(self) -> bool:
        """May another target have another proxy?"""
        return self._named is None

    def choose(self, target: Target, *, tls: bool) -> Proxy | None:
        """The proxy to go through, or None for none. `tls`: from the first byte.

        Raises:
            UsageError: a variable of the environment has no such URL.
        """
        if self._named is not None:
            return self._named
        if not target.host:
            return None  # a Unix socket
        named = named_proxy(os.environ, target, tls=tls)
        if named is None:
            return None
        variable, url = named
        try:
            return self._complete(proxy(proxy_in_ascii(url)))
        except OptionsError as error:
            raise UsageError(f"--proxy env: {variable}: {error.message}") from error

    def _complete(self, named: Proxy) -> Proxy:
        if named.scheme != "https":
            return named
        if self._context is None:
            from cfcat.core.context import make_tls_context  # lazy: ssl
            from cfcat.program.tls import log_keys_or_say

            self._context = make_tls_context(cacert=self._cacert)
            log_keys_or_say(self._context, self._note)
        return named._replace(tls=self._context)


def _with_password(named: Proxy) -> Proxy:
    """Ask for the password, where there is a user without one."""
    if named.user is None or named.password is not None or not named.has_passwords:
        return named
    from cfcat.edges.password import ask_password  # lazy: most have none, or say it
    from cfcat.report.render import escape

    none = UsageError(f"--proxy: no password is given for {named.address}, and there is no terminal to ask for it")
    return named._replace(password=ask_password(f"cfcat: password of {escape(named.user)} at {named.address}: ", none))
