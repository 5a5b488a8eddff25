"""Redis, which has no upgrade: TLS is there from the first byte or not at all."""

from __future__ import annotations

from cfcat.protocols.text import SASL_MECHANISM, words

__all__ = ["SECRETS", "VERBS"]

VERBS = (
    *words("PING AUTH HELLO SELECT QUIT ECHO INFO DBSIZE TIME ROLE KEYS SCAN EXISTS TYPE TTL EXPIRE PERSIST DEL GET"),
    *words("SET GETDEL MGET MSET INCR DECR APPEND STRLEN HGET HSET HGETALL HDEL HKEYS LPUSH RPUSH LPOP RPOP LRANGE"),
    *words("SADD SREM SMEMBERS ZADD ZRANGE ZSCORE XADD XLEN XRANGE PUBLISH SUBSCRIBE PSUBSCRIBE MULTI EXEC DISCARD"),
    *("CLIENT LIST", "CLIENT SETNAME", "CONFIG GET", "MEMORY USAGE", "SLOWLOG GET", "CLUSTER INFO", "MONITOR"),
)
SECRETS = (
    # `AUTH MECHANISM` is not a Redis password: with an unknown protocol it may be SMTP or POP3.
    rb"([\"']?AUTH[\"']?\s+)(?!" + SASL_MECHANISM + rb"\s*$)\S",
    rb"(HELLO\s+\d+\s+(?:\S+\s+)*?AUTH\s+)\S",
    rb"(CONFIG\s+SET\s+(?:\S+\s+\S+\s+)*?(?:requirepass|masterauth|tls-(?:client-)?key-file-pass)\s+)\S",
    rb"(ACL\s+SETUSER\s+\S+\s+)\S",
    rb"(MIGRATE\s+(?:\S+\s+)+?AUTH2?\s+)\S",
    rb"(SENTINEL\s+SET\s+(?:\S+\s+)+?auth-(?:pass|user)\s+)\S",
)
