"""The reference's messages that rules speak of."""

from __future__ import annotations

from tests.conformance.data import Event

__all__ = [
    "CLOSED_BEFORE_START_TLS",
    "CONNECT_FAILED",
    "HTTP_HINT",
    "INTERNAL_ERROR",
    "JSG_PREFIX",
    "LOST",
    "NOT_BYTES",
    "READER_LOCKED",
    "READER_RELEASED",
    "SOCKET_CLOSED",
    "START_TLS_TWICE",
    "STREAM_CANCELLED",
    "WRITABLE_CLOSED",
    "WRITER_LOCKED",
    "WRITER_RELEASED",
    "plain_error",
    "type_error",
]

CONNECT_FAILED = "proxy request failed, cannot connect to the specified address"
HTTP_HINT = ". It looks like you might be trying to connect to a HTTP-based service \u2014 consider using fetch instead"
JSG_PREFIX = "jsg.Error: "
INTERNAL_ERROR = "internal error; reference = {reference}"
LOST = "Network connection lost."
STREAM_CANCELLED = "Stream was cancelled."
SOCKET_CLOSED = "This socket has been closed."
WRITABLE_CLOSED = "This WritableStream has been closed."
READER_LOCKED = "This ReadableStream is currently locked to a reader."
WRITER_LOCKED = "This WritableStream is currently locked to a writer."
READER_RELEASED = "This ReadableStream reader has been released."
WRITER_RELEASED = "This WritableStream writer has been released."
CLOSED_BEFORE_START_TLS = "The connection was closed before startTls could be started."
START_TLS_TWICE = "startTls has already been called on this socket."
NOT_BYTES = (
    "This TransformStream is being used as a byte stream, but received an object of "
    "non-ArrayBuffer/ArrayBufferView type on its writable side."
)


def plain_error(message: str) -> Event:
    return {"name": "Error", "message": message}


def type_error(message: str) -> Event:
    return {"name": "TypeError", "message": message}
