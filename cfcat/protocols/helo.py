"""The name that EHLO and LHLO say of us: which may be said, and which is ours.

Pure. Servers refuse what is neither a domain nor an address literal (exim: 501, others: 504).
"""

from __future__ import annotations

import re

from cfcat.core.address import is_ipv6, without_zone

__all__ = ["is_helo_name", "own_helo_name"]

MAX_DOMAIN = 255  # RFC 5321 §4.5.3.1.2
# RFC 5321 §4.1.2, with the length of a label from RFC 1035 §2.3.4.
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*")
BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4_LITERAL = re.compile(rf"\[{BYTE}(?:\.{BYTE}){{3}}\]", re.ASCII)
IPV6_LITERAL = re.compile(r"\[IPv6:([0-9A-Fa-f:.]+)\]", re.IGNORECASE)


def is_helo_name(text: str) -> bool:
    """May this stand in EHLO: is it a domain, or the literal of an address (RFC 5321 §4.1.1.1)?"""
    if literal := IPV6_LITERAL.fullmatch(text):
        return is_ipv6(literal[1])
    return bool(IPV4_LITERAL.fullmatch(text)) or (len(text) <= MAX_DOMAIN and bool(DOMAIN.fullmatch(text)))


def own_helo_name(hostname: str, address: str) -> str:
    """What we are called: by the name of this host, where that is a domain with a dot, else by our address.

    `address`: of our end of the connection, without brackets. A zone of it is our own affair.
    """
    last_label = hostname.rpartition(".")[2]
    if is_helo_name(hostname) and "." in hostname and not hostname.startswith("[") and not last_label.isdigit():
        return hostname
    literal = without_zone(address)
    return f"[IPv6:{literal}]" if ":" in literal else f"[{literal}]"
