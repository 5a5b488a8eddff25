"""Which proxy the environment names for a target, by curl's rules: ALL_PROXY, HTTPS_PROXY and NO_PROXY.

A variable in small letters counts before the same one in capitals. HTTPS_PROXY counts for TLS from the first byte.
Pure: the caller passes the environment. Source: curl(1), ENVIRONMENT and --noproxy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network

from cfcat.core.address import Target, without_zone

__all__ = ["named_proxy"]


def named_proxy(environ: Mapping[str, str], target: Target, *, tls: bool) -> tuple[str, str] | None:
    """The variable that names a proxy for this target, and the URL in it; None: connect directly.

    A URL without a scheme gets http://.
    """
    if _is_excluded(target.host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    for name in (*(("https_proxy", "HTTPS_PROXY") if tls else ()), "all_proxy", "ALL_PROXY"):
        if url := environ.get(name):
            return name, url if "://" in url else f"http://{url}"
    return None


def _is_excluded(host: str, exceptions: str) -> bool:
    """Does the list name this host, or a domain or network that it belongs to? `*` alone excludes every host."""
    if exceptions.strip() == "*":
        return True
    host = without_zone(host).lower().rstrip(".")
    return any(_covers(each.lower(), host) for each in re.split(r"[,\s]+", exceptions) if each)


def _covers(exception: str, host: str) -> bool:
    with suppress(ValueError):
        ip = ip_address(host)
        try:
            return ip in ip_network(exception.strip("[]"), strict=False)
        except ValueError:
            return False
    domain = exception.strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
