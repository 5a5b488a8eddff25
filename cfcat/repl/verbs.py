"""What Tab completes in the text for the peer: the verbs of each protocol; and which protocol a port is known for.

Pure. The lists are what one types by hand when looking into a server, not all that the specifications have.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PROFILES", "completions", "profile_for"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_SMTP = (
    *_words("EHLO HELO STARTTLS"),
    *("AUTH PLAIN", "AUTH LOGIN", "AUTH CRAM-MD5", "AUTH XOAUTH2", "MAIL FROM:<", "RCPT TO:<"),
    *_words("DATA BDAT RSET VRFY EXPN ETRN NOOP HELP QUIT"),
)
# The names of --proto, and their verbs as the specifications write them; a verb may have several words. Protocols of
# bytes, or whose text is no verb, have none.
PROFILES: Mapping[str, tuple[str, ...]] = {
    "smtp": _SMTP,  # RFC 5321, 3207, 4954, 3030, 1985
    "lmtp": ("LHLO", *_SMTP[2:]),  # RFC 2033
    "imap": (  # RFC 9051, 2342, 4314, 9208, 7162
        *_words("CAPABILITY NOOP LOGOUT STARTTLS LOGIN ENABLE ID NAMESPACE SELECT EXAMINE CREATE DELETE RENAME"),
        *("AUTHENTICATE PLAIN", "AUTHENTICATE LOGIN", "AUTHENTICATE XOAUTH2"),
        *_words("SUBSCRIBE UNSUBSCRIBE LIST LSUB STATUS APPEND IDLE DONE CHECK CLOSE UNSELECT EXPUNGE SEARCH FETCH"),
        *_words("STORE COPY MOVE GETQUOTA GETQUOTAROOT SETQUOTA GETACL SETACL MYRIGHTS COMPRESS"),
        *("UID FETCH", "UID SEARCH", "UID STORE", "UID COPY", "UID MOVE", "UID EXPUNGE"),
    ),
    "pop3": _words("CAPA STLS USER PASS APOP AUTH STAT LIST UIDL RETR TOP DELE RSET NOOP QUIT"),  # RFC 1939, 2449, 5034
    "ftp": (  # RFC 959, 2228, 2389, 2428, 3659, 4217
        *("AUTH TLS", "PBSZ 0", "PROT P", "PROT C"),
        *_words(
            "USER PASS ACCT CWD CDUP PWD QUIT REIN PORT PASV EPRT EPSV TYPE MODE STRU RETR STOR STOU APPE ALLO REST"
        ),
        *_words(
            "RNFR RNTO ABOR DELE RMD MKD LIST NLST MLSD MLST MDTM SIZE SITE SYST STAT HELP NOOP FEAT OPTS CCC HOST"
        ),
    ),
    "nntp": (  # RFC 3977, 4642, 4643
        *_words(
            "CAPABILITIES STARTTLS GROUP LISTGROUP ARTICLE HEAD BODY STAT OVER XOVER HDR XHDR NEXT LAST POST IHAVE"
        ),
        *("MODE READER", "AUTHINFO USER", "AUTHINFO PASS", "AUTHINFO SASL", "LIST ACTIVE", "LIST NEWSGROUPS"),
        *_words("NEWGROUPS NEWNEWS DATE HELP QUIT"),
    ),
    "sieve": (  # RFC 5804
        *_words("CAPABILITY STARTTLS LISTSCRIPTS GETSCRIPT PUTSCRIPT CHECKSCRIPT SETACTIVE DELETESCRIPT RENAMESCRIPT"),
        *('AUTHENTICATE "PLAIN"', "HAVESPACE", "UNAUTHENTICATE", "NOOP", "LOGOUT"),
    ),
    "irc": (  # RFC 2812, IRCv3
        *_words(
            "NICK USER PASS JOIN PART PRIVMSG NOTICE QUIT PING PONG MODE TOPIC NAMES LIST INVITE KICK WHO WHOIS WHOWAS"
        ),
        *("CAP LS 302", "CAP REQ", "CAP END", "STARTTLS", "AUTHENTICATE", "OPER", "AWAY", "ISON", "USERHOST"),
        *_words("MOTD LUSERS VERSION STATS LINKS TIME ADMIN INFO"),
    ),
    "redis": (
        *_words(
            "PING AUTH HELLO SELECT QUIT ECHO INFO DBSIZE TIME ROLE KEYS SCAN EXISTS TYPE TTL EXPIRE PERSIST DEL GET"
        ),
        *_words(
            "SET GETDEL MGET MSET INCR DECR APPEND STRLEN HGET HSET HGETALL HDEL HKEYS LPUSH RPUSH LPOP RPOP LRANGE"
        ),
        *_words(
            "SADD SREM SMEMBERS ZADD ZRANGE ZSCORE XADD XLEN XRANGE PUBLISH SUBSCRIBE PSUBSCRIBE MULTI EXEC DISCARD"
        ),
        *("CLIENT LIST", "CLIENT SETNAME", "CONFIG GET", "MEMORY USAGE", "SLOWLOG GET", "CLUSTER INFO", "MONITOR"),
    ),
    "http": (  # RFC 9110
        *("GET / HTTP/1.1", "HEAD / HTTP/1.1", "OPTIONS * HTTP/1.1"),
        *_words("GET HEAD POST PUT DELETE OPTIONS TRACE PATCH CONNECT"),
        *(
            "Accept: ",
            "Accept-Encoding: ",
            "Authorization: ",
            "Cache-Control: ",
            "Connection: close",
            "Content-Length: ",
        ),
        *("Content-Type: ", "Cookie: ", "Expect: 100-continue", "Host: ", "If-Modified-Since: ", "If-None-Match: "),
        *("Origin: ", "Range: bytes=", "Referer: ", "Transfer-Encoding: chunked", "Upgrade: ", "User-Agent: "),
    ),
    "gopher": (),
    "memcached": _words(
        "get gets gat set add replace append prepend cas delete incr decr touch mn mg ms md ma me stats version"
        " verbosity flush_all quit"
    ),
    "ldap": (),
    "postgres": (),
    "mysql": (),
    "xmpp": (  # RFC 6120
        "<?xml version='1.0'?>",
        "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client' version='1.0' to='",
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='",
        *("<iq type='", "<message to='", "<presence/>", "</stream:stream>"),
    ),
    "none": (),
}
# Well-known ports, the one of the clear text first; then those of TLS, and what is usual besides.
_PORTS = {
    "smtp": (25, 465, 587, 2525),
    "lmtp": (24,),
    "imap": (143, 993),
    "pop3": (110, 995),
    "ftp": (21, 990),
    "nntp": (119, 563),
    "sieve": (4190,),
    "irc": (6667, 6697, *range(6660, 6667), 6668, 6669),
    "redis": (6379, 6380),
    "http": (80, 443, 8000, 8008, 8080, 8443),
    "gopher": (70,),
    "memcached": (11211,),
    "ldap": (389, 636, 3268, 3269),
    "postgres": (5432,),
    "mysql": (3306,),
    "xmpp": (5222, 5223, 5269, 5270),
}
_PROFILE_OF = {port: name for name, ports in _PORTS.items() for port in ports}


def profile_for(port: int) -> str | None:
    """The name in `PROFILES` that a port is known for, with TLS or without; None for a port of nobody's."""
    return _PROFILE_OF.get(port)


def completions(profile: str | None, text: str) -> list[str]:
    """What the text before the cursor may become: whole lines that begin with it, in the order of the profile.

    None of what was typed is changed. In IMAP a tag may stand before the verb.
    """
    verbs = PROFILES[profile or "none"]
    tag, verb = _split_tag(text, verbs) if profile == "imap" else ("", text)
    begun = verb.lower()
    found = (candidate for candidate in verbs if candidate.lower().startswith(begun) and len(candidate) > len(verb))
    return [tag + verb + _rest(candidate, verb) for candidate in found]


def _split_tag(text: str, verbs: tuple[str, ...]) -> tuple[str, str]:
    """`a1 LOG` is a tag with its blank, and what may become a verb; `UID F` is all verb."""
    word, blank, rest = text.partition(" ")
    known = {verb.partition(" ")[0] for verb in verbs}
    return (word + blank, rest) if word and blank and word.upper() not in known else ("", text)


def _rest(verb: str, typed: str) -> str:
    """What is missing of a verb, in the case of the last letter typed; names such as `Content-Type` have their own."""
    rest = verb[len(typed) :]
    letters = [character for character in typed if character.isalpha()]
    if not letters:
        return rest
    if letters[-1].islower():
        return rest.lower()
    return rest.upper() if verb.islower() else rest
