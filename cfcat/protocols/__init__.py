"""The dialogs of --starttls and :starttls: what goes over the wire before the ClientHello.

One generator without I/O for each protocol; the table by name is what option, command, completion and manual
are made of. Nothing that a server says here is kept: not its capabilities, not its names (R2, and the state machine
of the security notes). Source: rules R1 to R8; each dialog names its specification.
"""

from __future__ import annotations

from cfcat.protocols import chat, databases, directory, magic, mail, screens, transfer
from cfcat.protocols.conversation import Conversation
from cfcat.protocols.dialog import Dialog, Names, Protocol
from cfcat.protocols.wrapper import HandshakeWrapper

__all__ = ["PROTOCOLS", "Conversation", "Dialog", "HandshakeWrapper", "Names", "Protocol"]

# First those that s_client has, in its order; then the rest.
_TABLE = (
    Protocol("smtp", "SMTP", mail.smtp, 25, "EHLO, STARTTLS", "RFC 3207"),
    Protocol("lmtp", "LMTP", mail.lmtp, 24, "LHLO, STARTTLS", "RFC 2033, RFC 3207"),
    Protocol("pop3", "POP3", mail.pop3, 110, "STLS", "RFC 2595", alpn="pop3"),
    Protocol("imap", "IMAP", mail.imap, 143, "CAPABILITY, STARTTLS", "RFC 9051", alpn="imap"),
    Protocol("ftp", "FTP", transfer.ftp, 21, "AUTH TLS", "RFC 4217", alpn="ftp"),
    Protocol("nntp", "NNTP", transfer.nntp, 119, "CAPABILITIES, STARTTLS", "RFC 4642", alpn="nntp"),
    Protocol("sieve", "ManageSieve", mail.sieve, 4190, "STARTTLS", "RFC 5804", alpn="managesieve"),
    Protocol("xmpp", "XMPP", chat.xmpp, 5222, "<starttls/> to a server", "RFC 6120", alpn="xmpp-client"),
    Protocol("xmpp-server", "XMPP", chat.xmpp_server, 5269, "<starttls/> as a server", "RFC 6120", alpn="xmpp-server"),
    Protocol("irc", "IRC", chat.irc, 6667, "STARTTLS", "IRCv3 tls", alpn="irc"),
    Protocol("ldap", "LDAP", directory.ldap, 389, "StartTLS", "RFC 4511"),
    Protocol(
        "postgres", "PostgreSQL", databases.postgres, 5432, "SSLRequest", "PostgreSQL protocol", alpn="postgresql"
    ),
    Protocol("mysql", "MySQL", databases.mysql, 3306, "SSLRequest; MariaDB too", "MySQL protocol"),
    Protocol("telnet", "Telnet", screens.telnet, 23, "START_TLS", "draft-altman-telnet-starttls"),
    Protocol("rdp", "RDP", screens.rdp, 3389, "security negotiation", "MS-RDPBCGR"),
    Protocol("mssql", "TDS", databases.mssql, 1433, "PRELOGIN; at most TLS 1.2", "MS-TDS", max_tls="1.2"),
    Protocol("amqp", "AMQP", magic.amqp, 5672, "the TLS header of AMQP 1.0", "OASIS AMQP 1.0"),
    Protocol("nbd", "NBD", magic.nbd, 10809, "NBD_OPT_STARTTLS", "NBD protocol"),
    Protocol("vnc", "VNC", screens.vnc, 5900, "VeNCrypt with a certificate", "rfbproto"),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _TABLE}
