"""`--crlf`: a bare LF becomes CRLF, whatever the borders of the chunks. Pure.

A CRLF stays as it is, also one that is cut in two; a lone CR is no line ending and passes. Nothing is held back: only
the last byte is remembered.
"""

from __future__ import annotations

import re

from cfcat.core.codec import Buffer

__all__ = ["CrlfEncoder"]

BARE_LF = re.compile(rb"(?<!\r)\n")


class CrlfEncoder:
    """One stream's line endings."""

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, chunk: Buffer) -> bytes:
        """The next chunk with its line endings in the form CRLF."""
        data = bytes(chunk)
        if not data:
            return data
        encoded = BARE_LF.sub(b"\r\n", data)
        if self._after_cr and data.startswith(b"\n"):
            encoded = encoded[1:]  # its CR has gone out already
        self._after_cr = data.endswith(b"\r")
        return encoded
