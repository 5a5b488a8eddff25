"""Memcached's text protocol, which has no upgrade and no login."""

from __future__ import annotations

from cfcat.protocols.text import words

__all__ = ["VERBS"]

VERBS = words(
    "get gets gat set add replace append prepend cas delete incr decr touch mn mg ms md ma me stats version"
    " verbosity flush_all quit"
)
