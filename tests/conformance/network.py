"""What counts as publicly routable, for scenarios with `"network": "public-only"` (rule P2).

The ranges are those of the reference runtime's own network service; Cloudflare's are not published.
"""

from __future__ import annotations

import ipaddress

from cfcat import Verdict, WorkersPolicy
from cfcat.core.address import format_address

__all__ = ["PublicOnly", "is_public"]

# connect() to the unspecified address reaches the host itself.
LOCAL = ("127.0.0.0/8", "::1/128", "0.0.0.0/32", "::/128")
PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
RESERVED = ("192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32", "2001::/23", "ff00::/8")
NOT_PUBLIC = [ipaddress.ip_network(text) for text in LOCAL + PRIVATE + RESERVED]


def is_public(ip: str) -> bool:
    """May a runtime that reaches public addresses only connect to this one? IPv4-mapped ones count as IPv4."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not any(address in network for network in NOT_PUBLIC if network.version == address.version)


class PublicOnly(WorkersPolicy):
    """Rule P2 and nothing else: the recorded runtime has no other."""

    def judge(self, ip: str, port: int) -> Verdict:
        address = format_address(ip, port)
        if is_public(ip):
            return Verdict(address, "allowed")
        return Verdict(address, "blocked", "P2", f"{ip} is not public")
