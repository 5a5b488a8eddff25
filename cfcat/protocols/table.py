"""The protocols: a row each. What options, commands, completion, help and manual say of protocols is taken from here.

Pure. The plain pipe run does not load it. A new protocol is a file in this folder and a row here. Source: rules SEC-R1
to SEC-R8; each dialog names its specification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cfcat.protocols import (
    amqp,
    ftp,
    http,
    imap,
    irc,
    ldap,
    memcached,
    mssql,
    mysql,
    nats,
    nbd,
    nntp,
    pop3,
    postgres,
    rdp,
    redis,
    sieve,
    smtp,
    telnet,
    vnc,
    xmpp,
)
from cfcat.protocols.row import Protocol

__all__ = ["PROFILES", "PROTOCOLS", "TABLE", "TLS_PORTS", "guess", "port_of_scheme", "profile_for"]

# First those that s_client has, in its order; then other dialogs; then the protocols that have none.
TABLE = (
    Protocol(
        "smtp",
        "SMTP",
        25,
        "RFC 3207",
        smtp.smtp_client,
        smtp.smtp_server,
        tls_ports=(465,),
        more_ports=(587,),
        other_ports=(2525,),
        greeting=smtp.GREETING,
        verbs=smtp.VERBS,
        secrets=smtp.SECRETS,
        challenge=smtp.CHALLENGE,
        has_exchanges=True,
    ),
    Protocol(
        "lmtp",
        "LMTP",
        24,
        "RFC 2033, RFC 3207",
        smtp.lmtp_client,
        smtp.lmtp_server,
        greeting=smtp.GREETING,
        verbs=smtp.LMTP_VERBS,
        secrets=smtp.SECRETS,
        challenge=smtp.CHALLENGE,
        has_exchanges=True,
    ),
    Protocol(
        "pop3",
        "POP3",
        110,
        "RFC 2595",
        pop3.client,
        pop3.server,
        tls_ports=(995,),
        alpn="pop3",
        greeting=pop3.GREETING,
        verbs=pop3.VERBS,
        secrets=pop3.SECRETS,
        challenge=pop3.CHALLENGE,
        has_exchanges=True,
    ),
    Protocol(
        "imap",
        "IMAP",
        143,
        "RFC 9051",
        imap.client,
        imap.server,
        tls_ports=(993,),
        alpn="imap",
        greeting=imap.GREETING,
        verbs=imap.VERBS,
        secrets=imap.SECRETS,
        challenge=imap.CHALLENGE,
        has_exchanges=True,
    ),
    Protocol(
        "ftp",
        "FTP",
        21,
        "RFC 4217",
        ftp.client,
        ftp.server,
        tls_ports=(990,),
        alpn="ftp",
        greeting=ftp.GREETING,
        verbs=ftp.VERBS,
        secrets=ftp.SECRETS,
    ),
    Protocol(
        "nntp",
        "NNTP",
        119,
        "RFC 4642",
        nntp.client,
        nntp.server,
        tls_ports=(563,),
        alpn="nntp",
        greeting=nntp.GREETING,
        verbs=nntp.VERBS,
        secrets=nntp.SECRETS,
        challenge=nntp.CHALLENGE,
        has_exchanges=True,
    ),
    Protocol(
        "sieve",
        "ManageSieve",
        4190,
        "RFC 5804",
        sieve.client,
        sieve.server,
        greeting=sieve.GREETING,
        alpn="managesieve",
        verbs=sieve.VERBS,
        secrets=sieve.SECRETS,
        challenge=sieve.CHALLENGE,
        has_exchanges=True,
    ),
    Protocol(
        "xmpp",
        "XMPP",
        5222,
        "RFC 6120",
        xmpp.c2s_client,
        xmpp.c2s_server,
        tls_ports=(5223, 5270),
        other_ports=(5269,),
        alpn="xmpp-client",
        greeting=xmpp.GREETING,
        verbs=xmpp.VERBS,
        secrets=xmpp.SECRETS,
    ),
    Protocol(
        "xmpp-server",
        "XMPP",
        5269,
        "RFC 6120",
        xmpp.s2s_client,
        xmpp.s2s_server,
        alpn="xmpp-server",
        greeting=xmpp.GREETING,
    ),
    Protocol(
        "irc",
        "IRC",
        6667,
        "IRCv3 tls",
        irc.client,
        irc.server,
        greeting=irc.GREETING,
        tls_ports=(6697,),
        other_ports=(*range(6660, 6667), 6668, 6669),
        alpn="irc",
        verbs=irc.VERBS,
        secrets=irc.SECRETS,
    ),
    Protocol(
        "ldap",
        "LDAP",
        389,
        "RFC 4511",
        ldap.client,
        ldap.server,
        tls_ports=(636, 3269),
        other_ports=(3268,),
        verbs=(),
    ),
    Protocol(
        "postgres",
        "PostgreSQL",
        5432,
        "PostgreSQL protocol",
        postgres.client,
        postgres.server,
        alpn="postgresql",
        verbs=(),
    ),
    Protocol(
        "mysql",
        "MySQL",
        3306,
        "MySQL protocol",
        mysql.client,
        mysql.server,
        greeting=mysql.GREETING,
        verbs=(),
    ),
    Protocol(
        "telnet",
        "Telnet",
        23,
        "draft-altman-telnet-starttls",
        telnet.client,
        telnet.server,
        tls_ports=(992,),
        greeting=telnet.GREETING,
    ),
    Protocol(
        "rdp",
        "RDP",
        3389,
        "MS-RDPBCGR",
        rdp.client,
        rdp.server,
    ),
    Protocol(
        "mssql",
        "TDS",
        1433,
        "MS-TDS",
        mssql.client,
        mssql.server,
        max_tls="1.2",
    ),
    Protocol(
        "amqp",
        "AMQP",
        5672,
        "OASIS AMQP 1.0",
        amqp.client,
        amqp.server,
        tls_ports=(5671,),
        greeting=amqp.GREETING,
    ),
    Protocol(
        "nbd",
        "NBD",
        10809,
        "NBD protocol",
        nbd.client,
        nbd.server,
        greeting=nbd.GREETING,
    ),
    Protocol(
        "vnc",
        "VNC",
        5900,
        "rfbproto",
        vnc.client,
        vnc.server,
        greeting=vnc.GREETING,
    ),
    Protocol(
        "nats",
        "NATS",
        4222,
        "NATS client protocol",
        nats.client,
        nats.server,
        greeting=nats.GREETING,
        verbs=nats.VERBS,
        secrets=nats.SECRETS,
    ),
    Protocol(
        "http",
        "HTTP",
        80,
        "RFC 9110, RFC 2817",
        http.client,
        http.server,
        tls_ports=(443, 8443),
        more_ports=(8080,),
        other_ports=(631, 8000, 8008),
        verbs=http.VERBS,
        secrets=http.SECRETS,
    ),
    Protocol(
        "redis",
        "Redis",
        6379,
        "RESP",
        more_ports=(6380,),
        verbs=redis.VERBS,
        secrets=redis.SECRETS,
    ),
    Protocol(
        "gopher",
        "Gopher",
        70,
        "RFC 1436",
        verbs=(),
    ),
    Protocol(
        "memcached",
        "Memcached",
        11211,
        "memcached protocol",
        verbs=memcached.VERBS,
    ),
)
# The names of `--starttls`.
PROTOCOLS: Mapping[str, Protocol] = {row.name: row for row in TABLE if row.client is not None}
# The names of `--proto`, and the verbs of each.
PROFILES: Mapping[str, tuple[str, ...]] = {
    **{row.name: row.verbs for row in TABLE if row.verbs is not None},
    "none": (),
}
# Where TLS begins at once. Three have protocols without a row: DNS, SIP, MQTT.
TLS_PORTS = frozenset({853, 5061, 8883, *(port for row in TABLE for port in row.tls_ports)})
WEB_SOCKETS = {"ws": "http", "wss": "https"}  # RFC 6455 §3: as HTTP
_PROFILE_OF = {port: row.name for row in TABLE if row.verbs is not None for port in row.ports}


def profile_for(port: int) -> str | None:
    """The name in `PROFILES` that a port is known for, with TLS or without; None for an unknown port."""
    return _PROFILE_OF.get(port)


def port_of_scheme(scheme: str) -> tuple[int, bool] | None:
    """The default port of a URL's scheme, and whether TLS begins at once there; None for an unknown scheme."""
    name = WEB_SOCKETS.get(scheme, scheme)
    rows = {row.name: row for row in TABLE}
    if name in rows:
        return rows[name].port, False
    row = rows.get(name.removesuffix("s"))
    return None if row is None or not row.tls_ports else (row.tls_ports[0], True)


def guess(said: bytes, port: int = 0) -> str | None:
    """The name in `PROTOCOLS` of a server that begins so in clear text; None where it might be anything.

    Some greetings fit more than one protocol: then the one that has the port, or else the first row.
    """
    rows = [row for row in PROTOCOLS.values() if row.greeting and re.match(row.greeting, said)]
    named = next((row for row in rows if port in row.ports), rows[0] if rows else None)
    return None if named is None else named.name
