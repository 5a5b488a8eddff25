"""Which proxy the environment names for a target, as curl reads it: ALL_PROXY, HTTPS_PROXY and NO_PROXY.

Their names in small letters come first. HTTPS_PROXY is for TLS from the first byte. Pure: the environment is given to
it. Source: curl(1), ENVIRONMENT and --noproxy.
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

    A URL without a scheme is HTTP's.
    """
    if _is_excluded(target.host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    for name in (*(("https_proxy", "HTTPS_PROXY") if tls else ()), "all_proxy", "ALL_PROXY"):
        if url := environ.get(name):
            return name, url if "://" in url else f"http://{url}"
    return None


def _is_excluded(host: str, exceptions: str) -> bool:
    """Is there a name of the host in the list, or of what it belongs to? `*` alone is everything."""
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
