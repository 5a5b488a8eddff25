"""Options and words of other tools that cfcat has not, and how to say it here.

Sources: nc(1) of OpenBSD, ncat(1), socat(1), openssl-s_client(1), telnet(1). Pure; loaded when something on the command
line makes no sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cfcat.core.address import UNIX
from cfcat.report.hints import ONE_PORT

__all__ = ["extra_words", "habit_among", "habit_of_words"]

NO_PROGRAMS = "cfcat runs no programs; a pipe or a shell script does"
TCP_ALONE = "cfcat speaks TCP alone, no UDP"
NO_CLIENT_LIST = "-l PORT lets loopback in alone, --client-ca FILE those with a certificate; all else is the firewall's"
VERIFIES = "--tls on verifies in any case"
SYSTEM = "that is the system's choice"
# What to type instead; the option of cfcat comes first where there is one.
HABITS = {
    "-?": "-h",
    "--help-all": "--help all",
    "-version": "--version",
    # nc and ncat
    "-N": "the end of standard input ends our side in any case; --shutdown now at once",
    "-u": TCP_ALONE,
    "--udp": TCP_ALONE,
    "--sctp": "cfcat speaks TCP alone, no SCTP",
    "-U": "cfcat unix:PATH, or cfcat -l unix:PATH",
    "--unixsock": "cfcat unix:PATH, or cfcat -l unix:PATH",
    "--vsock": "cfcat speaks TCP, and unix:PATH",
    "-p": "with -l the port is a word: cfcat -l PORT; --source :PORT connects from it",
    "-s": "--source HOST",
    "--source-port": "--source :PORT",
    "-X": "--proxy socks5://HOST:PORT, socks4:// or http://; -x is a hexdump here",
    "-P": "--proxy http://USER@HOST:PORT",
    "--proxy-type": "--proxy socks5://HOST:PORT, socks4:// or http://",
    "--proxy-auth": "--proxy http://USER:PASSWORD@HOST:PORT",
    "--proxy-dns": "--proxy socks5h://HOST:PORT has the proxy resolve the name, socks5:// resolves it here",
    "-d": "cfcat HOST:PORT </dev/null",
    "-D": "cfcat HOST:PORT --json shows what happened",
    "-e": NO_PROGRAMS,
    "-c": NO_PROGRAMS,
    "--exec": NO_PROGRAMS,
    "--sh-exec": NO_PROGRAMS,
    "--lua-exec": NO_PROGRAMS,
    "-i": "-w SECS ends when nothing moves for so long",
    "--delay": "a script waits: --script FILE with :wait or :sleep",
    "--timeout": "--connect-timeout SECS to connect; -w SECS when nothing moves",
    "-W": "--until REGEX ends when what came matches",
    "-n": "leave it out: an address is never looked up",
    "--nodns": "leave it out: an address is never looked up",
    "-t": "--starttls telnet, where the server has TLS",
    "--telnet": "telnet's negotiation is shown, and not answered",
    "-r": "a shell loop tries several ports, one a run",
    "-o": "--log FILE",
    "--output": "--log FILE",
    "--hex-dump": "-x, or --log FILE",
    "--append-output": "--log FILE appends in any case",
    "--send-only": "cfcat -q 0 HOST:PORT >/dev/null",
    "--recv-only": "cfcat HOST:PORT </dev/null",
    "--keep-open": "-l --keep",
    "-m": "-l --keep takes one client after the other",
    "--max-conns": "-l --keep takes one client after the other",
    "--allow": NO_CLIENT_LIST,
    "--allowfile": NO_CLIENT_LIST,
    "--deny": NO_CLIENT_LIST,
    "--denyfile": NO_CLIENT_LIST,
    "--broker": "cfcat joins no clients; --tap shows what a client and its server say",
    "--chat": "cfcat joins no clients; --tap shows what a client and its server say",
    "-I": f"{SYSTEM}: sysctl net.ipv4.tcp_rmem",
    "-O": f"{SYSTEM}: sysctl net.ipv4.tcp_wmem",
    "-M": SYSTEM,
    "-T": SYSTEM,
    "-S": SYSTEM,
    "--ssl": "--tls on",
    "--ssl-verify": VERIFIES,
    "--ssl-trustfile": "--cacert FILE",
    "--ssl-cert": "--cert FILE",
    "--ssl-key": "--key FILE",
    "--ssl-ciphers": "--ciphers LIST",
    "--ssl-alpn": "--alpn LIST",
    "--ssl-servername": "--sni NAME",
    # telnet
    "-a": "no name is sent unasked; :send and :secret send one",
    "-b": "--source HOST",
    "-E": "there is no escape character: commands begin with a colon, and ::x sends :x",
    "-L": "all bytes pass as they are",
    "-8": "all bytes pass as they are",
    "-7": "all bytes pass as they are",
    # openssl s_client
    "-connect": "cfcat HOST:PORT --tls on",
    "-host": "cfcat HOST PORT --tls on",
    "-port": "cfcat HOST PORT --tls on",
    "-starttls": "--starttls PROTO",
    "-servername": "--sni NAME",
    "-noservername": "the name is sent in any case; --sni NAME sends another",
    "-verify_hostname": "--sni NAME",
    "-verify": VERIFIES,
    "-verify_return_error": VERIFIES,
    "-verify_quiet": VERIFIES,
    "-CAfile": "--cacert FILE",
    "-CApath": "SSL_CERT_DIR=DIR in the environment",
    "--capath": "SSL_CERT_DIR=DIR in the environment",
    "-cert": "--cert FILE",
    "-key": "--key FILE",
    "-alpn": "--alpn LIST",
    "-cipher": "--ciphers LIST",
    "-proxy": "--proxy http://HOST:PORT",
    "-name": "--helo NAME",
    "-tls1": "TLS begins at 1.2: --tls-min",
    "-tls1_1": "TLS begins at 1.2: --tls-min",
    "-tls1_2": "--tls-max 1.2",
    "-tls1_3": "--tls-min 1.3",
    "-no_tls1_2": "--tls-min 1.3",
    "-no_tls1_3": "--tls-max 1.2",
    "-crlf": "--crlf",
    "-showcerts": "--json has the chain, and :cert in a session",
    "-brief": "-v says what TLS came to",
    "-state": "-v says what happens",
    "-status": "cfcat asks for no OCSP",
    "-tlsextdebug": "--pcap FILE has the handshake, for Wireshark",
    "-keylogfile": "SSLKEYLOGFILE=FILE in the environment, or --pcap FILE",
    "-msg": "-vv shows the bytes that move",
    "-debug": "-vv shows the bytes that move",
    "-quiet": "cfcat says nothing unasked",
    "-nocommands": "lines are data in a pipe, and commands begin with a colon in a session",
    "-ign_eof": "the server's end is the end; --half-open goes on",
    "-no_ign_eof": "the end of standard input ends our side in any case; --shutdown now at once",
    "-prexit": "--json reports at the end",
}
OTHERS_PROXY = "--proxy socks5://HOST:PORT, if -x was to name a proxy; here it shows bytes in hexadecimal"
PROGRAMS = frozenset({"nc", "ncat", "netcat", "telnet", "socat", "openssl", "s_client", "cfcat"})
# The addresses of socat(1), and what they are here.
SOCAT = {
    "TCP": "cfcat {}",
    "TCP-CONNECT": "cfcat {}",
    "OPENSSL": "cfcat --tls on {}",
    "OPENSSL-CONNECT": "cfcat --tls on {}",
    "SSL": "cfcat --tls on {}",
    "UNIX": "cfcat unix:{}",
    "UNIX-CONNECT": "cfcat unix:{}",
    "UNIX-CLIENT": "cfcat unix:{}",
    "ABSTRACT-CONNECT": "cfcat unix:@{}",
    "TCP-LISTEN": "cfcat -l {}",
    "OPENSSL-LISTEN": "cfcat -l --tls on {}",
    "SSL-L": "cfcat -l --tls on {}",
    "TCP-L": "cfcat -l {}",
    "UNIX-LISTEN": "cfcat -l unix:{}",
    "UNIX-L": "cfcat -l unix:{}",
    "SOCKS4": "--proxy socks4://HOST:PORT",
    "SOCKS4A": "--proxy socks4a://HOST:PORT",
    "SOCKS5": "--proxy socks5h://HOST:PORT",
    "PROXY": "--proxy http://HOST:PORT",
    "EXEC": NO_PROGRAMS,
    "SYSTEM": NO_PROGRAMS,
    "UDP": TCP_ALONE,
    "UDP-LISTEN": TCP_ALONE,
}
FAMILY = re.compile("[46](?=-|$)")  # TCP4, TCP6-LISTEN


def habit_among(arguments: Iterable[str], option: str = "") -> tuple[str, str] | None:
    """Find the first option that belongs to another tool: return it and what to type in its place, or None.

    The parser takes `-connect` for several options of a letter each, and names the one of them that it does not know:
    `option`. So words are looked up whole first, with or without `=VALUE`.
    """
    words = [word.partition("=")[0] for word in arguments]
    whole = next((word for word in words if len(word) > 2 and word in HABITS), option)
    return (whole, HABITS[whole]) if whole in HABITS else None


def habit_of_words(words: Iterable[str]) -> str | None:
    """What to type in place of socat's addresses; None where there are none among the words."""
    for word in words:
        kind, colon, rest = word.partition(":")
        where = rest.partition(",")[0]
        hint = SOCAT.get(kind.upper()) or SOCAT.get(FAMILY.sub("", kind.upper()))
        is_ours = word.startswith(UNIX) or rest.startswith("//")  # or it is a URL
        if colon and hint is not None and not is_ours:
            return hint.format(where if where and where.isprintable() and " " not in where else "HOST:PORT")
    return None


def extra_words(words: Sequence[str], given: Iterable[str]) -> str:
    """What to type where there are more words than a host and a port; `given` are the options."""
    if words[0] in PROGRAMS:
        return "cfcat HOST PORT, without the name of a program"
    if (hint := habit_of_words(words)) is not None:
        return hint
    if all(re.fullmatch("[0-9-]+", word) for word in words[1:]):
        return ONE_PORT
    if "-x" in given:
        return OTHERS_PROXY
    return "cfcat HOST PORT, or cfcat HOST:PORT"
