"""The words that some options have for values: what `connect()` takes and what the command line offers.

Pure, and loads nothing: the command line needs these words before anything else of the core.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["SECURE_TRANSPORTS", "AcceptTls", "AddressFamily", "SecureTransport", "Shutdown", "TlsVersion"]

SecureTransport = Literal["off", "on", "starttls"]
AddressFamily = Literal["ipv4", "ipv6"]
TlsVersion = Literal["1.2", "1.3"]
# What the tap does about its client's TLS: takes it when it comes, demands it, or passes it on untouched.
AcceptTls = Literal["auto", "on", "off"]
# When our EOF follows stdin's end. "auto": when the table in `pipe.ending` says so; "now": at once; "never": never.
Shutdown = Literal["auto", "now", "never"]

SECURE_TRANSPORTS: Final[tuple[SecureTransport, ...]] = ("off", "on", "starttls")
