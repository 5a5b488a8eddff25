"""The kinds of connection, for the tests of the command line too."""

from tests.pipe.conftest import either, plain, tls

__all__ = ["either", "plain", "tls"]
