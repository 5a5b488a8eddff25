"""HTTP/1.1, as typed by hand."""

from __future__ import annotations

from cfcat.protocols.text import words

__all__ = ["SECRETS", "VERBS"]

VERBS = (  # RFC 9110
    *("GET / HTTP/1.1", "HEAD / HTTP/1.1", "OPTIONS * HTTP/1.1"),
    *words("GET HEAD POST PUT DELETE OPTIONS TRACE PATCH CONNECT"),
    *("Accept: ", "Accept-Encoding: ", "Authorization: ", "Cache-Control: ", "Connection: close", "Content-Length: "),
    *("Content-Type: ", "Cookie: ", "Expect: 100-continue", "Host: ", "If-Modified-Since: ", "If-None-Match: "),
    *("Origin: ", "Range: bytes=", "Referer: ", "Transfer-Encoding: chunked", "Upgrade: ", "User-Agent: "),
)
SECRETS = (rb"((?:Proxy-)?Authorization:\s*(?:[\w-]+\s+)?)\S", rb"(Cookie:\s*)\S")
