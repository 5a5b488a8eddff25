"""Options of other tools that cfcat has not, and how to say it here.

Sources: nc(1) of OpenBSD, ncat(1), socat(1), openssl-s_client(1), telnet(1). Pure; loaded when an option is not known.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["habit_among"]

NO_PROGRAMS = "cfcat runs no programs; a pipe or a shell script does"
# What to type instead; the option of cfcat comes first where there is one.
HABITS = {
    "-N": "the end of standard input ends our side in any case; --shutdown now at once",
    "-u": "cfcat speaks TCP alone, no UDP",
    "--udp": "cfcat speaks TCP alone, no UDP",
    "-d": "cfcat HOST:PORT </dev/null",
    "-D": "cfcat HOST:PORT --json shows what happened",
    "-e": NO_PROGRAMS,
    "-c": NO_PROGRAMS,
    "--exec": NO_PROGRAMS,
    "--sh-exec": NO_PROGRAMS,
    "-i": "-w SECS ends when nothing moves for so long",
    "-n": "an address is never looked up",
    "-t": "--starttls telnet, where the server has TLS",
    "-o": "--log FILE",
    "--output": "--log FILE",
    "--send-only": "cfcat -q 0 HOST:PORT >/dev/null",
    "--recv-only": "cfcat HOST:PORT </dev/null",
    "--ssl": "--tls on",
    "--ssl-verify": "--tls on verifies in any case",
    "--ssl-trustfile": "--cacert FILE",
    "--ssl-cert": "--cert FILE",
    "--ssl-key": "--key FILE",
    "--ssl-ciphers": "--ciphers LIST",
    "--ssl-alpn": "--alpn LIST",
    "--ssl-servername": "--sni NAME",
    "-connect": "cfcat HOST:PORT --tls on",
    "-starttls": "--starttls PROTO",
    "-servername": "--sni NAME",
    "-verify_hostname": "--sni NAME",
    "-verify": "--tls on verifies in any case",
    "-verify_return_error": "--tls on verifies in any case",
    "-CAfile": "--cacert FILE",
    "-CApath": "SSL_CERT_DIR=DIR in the environment",
    "--capath": "SSL_CERT_DIR=DIR in the environment",
    "-cert": "--cert FILE",
    "-key": "--key FILE",
    "-alpn": "--alpn LIST",
    "-cipher": "--ciphers LIST",
    "-tls1_2": "--tls-max 1.2",
    "-tls1_3": "--tls-min 1.3",
    "-crlf": "--crlf",
    "-showcerts": "--json has the chain, and :cert in a session",
    "-msg": "-vv shows the bytes that move",
    "-debug": "-vv shows the bytes that move",
    "-quiet": "cfcat says nothing unasked",
    "-ign_eof": "the server's end is the end; --half-open goes on",
}


def habit_among(arguments: Iterable[str], option: str = "") -> tuple[str, str] | None:
    """Find the first option that belongs to another tool: return it and what to type in its place, or None.

    The parser takes `-connect` for several options of a letter each, and names the one of them that it does not know:
    `option`. So words are looked up whole first, with or without `=VALUE`.
    """
    words = [word.partition("=")[0] for word in arguments]
    whole = next((word for word in words if len(word) > 2 and word in HABITS), option)
    return (whole, HABITS[whole]) if whole in HABITS else None
