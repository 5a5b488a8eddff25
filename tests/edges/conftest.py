"""Fixtures for the tests of the edges: the kinds of connection that pipe mode is tried on."""

from __future__ import annotations

from tests.pipe.conftest import either, plain, tls, transport

__all__ = ["either", "plain", "tls", "transport"]
