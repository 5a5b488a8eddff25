"""Directories, databases and queues: slapd for LDAP, PostgreSQL, MariaDB, Redis, NATS.

When a client half-closes:
- slapd does not answer what comes right before a FIN or a close_notify;
- MariaDB and Redis end a TLS connection without close_notify.
"""

from __future__ import annotations

import signal

from tests.servers.launcher import Daemon, Launch, NotPossible, demand

__all__ = ["mariadb", "nats", "postgres", "redis", "slapd"]


def slapd(launch: Launch) -> Daemon:
    """LDAP (RFC 4511), on GnuTLS: the one entry dc=test, and cn=admin,dc=test with the password "password"."""
    program, slapadd = demand("slapd"), demand("slapadd")
    port, tls_port = launch.ports()
    verify = launch.client_auth(ask="try", require="demand") or "never"
    tls = f"""
TLSCACertificateFile {launch.ca}
TLSCertificateFile {launch.cert}
TLSCertificateKeyFile {launch.key}
TLSVerifyClient {verify}
"""
    configuration = f"""
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {launch.folder}/pid
{tls if launch.tls else ""}
database mdb
maxsize 1048576
suffix "dc=test"
rootdn "cn=admin,dc=test"
rootpw password
directory {launch.mkdir("db")}
"""
    conf = launch.write("slapd.conf", configuration, 0o600)
    entry = launch.write(
        "data.ldif", "dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\ndc: test\no: test\n"
    )
    launch.run(slapadd, "-q", "-f", str(conf), "-l", str(entry))
    bracketed = [f"[{host}]" if ":" in host else host for host in launch.hosts]
    urls = [f"ldap://{host}:{port}" for host in bracketed]
    if launch.tls:
        urls += [f"ldaps://{host}:{tls_port}" for host in bracketed]
    launch.start([program, "-d", "none", "-f", str(conf), "-h", " ".join(urls)])
    bind, bound = bytes.fromhex("300c 020101 6007 020103 0400 8000"), b"\x0a\x01\x00"
    return launch.ready(port, tls_port, bind, bound)


def postgres(launch: Launch) -> Daemon:
    """PostgreSQL's protocol 3: user "postgres", no password; TLS by SSLRequest, before version 17 only so.

    A client without the certificate that is required gets an error message under TLS.
    """
    program, initdb = demand("postgres"), demand("initdb")
    port = launch.port()
    data = launch.folder / "data"
    more = ["-A", "trust", "-N", "-E", "UTF8", "--locale=C"]  # -N: no fsync, nothing here outlives the tests
    launch.run(initdb, "-D", str(data), "-U", "postgres", *more)
    required = launch.client_auth(ask="", require="clientcert=verify-ca")
    launch.write("data/pg_hba.conf", f"hostssl all all all trust {required}\nhostnossl all all all trust\n", 0o600)
    tls = f"""
ssl = on
ssl_cert_file = '{launch.cert}'
ssl_key_file = '{launch.key}'
ssl_min_protocol_version = 'TLSv{launch.versions[0]}'
ssl_max_protocol_version = 'TLSv{launch.versions[-1]}'
{launch.client_auth(ask=f"ssl_ca_file = '{launch.ca}'", require=f"ssl_ca_file = '{launch.ca}'")}
"""
    configuration = f"""
listen_addresses = '{",".join(launch.hosts)}'
port = {port}
unix_socket_directories = ''
fsync = off
shared_buffers = 4MB
max_connections = 20
dynamic_shared_memory_type = mmap
autovacuum = off
jit = off
{tls if launch.tls else ""}
"""
    launch.write("data/postgresql.conf", configuration, 0o600)
    launch.start([program, "-D", str(data)], stop=signal.SIGINT)  # SIGTERM: it waits for its clients to leave
    startup = b"\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
    launch.answers(port, (len(startup) + 4).to_bytes(4) + startup, b"Z\x00\x00\x00\x05I")
    launch.answers(port, bytes.fromhex("00000008 04d2162f"), b"S" if launch.tls else b"N")
    return Daemon(launch.hosts, port, 0, launch.folder)


def mariadb(launch: Launch) -> Daemon:
    """MySQL's protocol: any user, no password; TLS by SSLRequest.

    It asks every client for a certificate, and cannot require one; without "ask" it has no CA to verify it by.
    """
    program = demand("mariadbd")
    port = launch.port()
    tls = f"""
ssl-cert = {launch.cert}
ssl-key = {launch.key}
tls-version = {",".join(f"TLSv{version}" for version in launch.versions)}
{launch.client_auth(ask=f"ssl-ca = {launch.ca}", require=None)}
"""
    # No grant tables and no InnoDB: it starts ten times as fast.
    configuration = f"""
[mysqld]
datadir = {launch.mkdir("data")}
tmpdir = {launch.mkdir("tmp")}
bind-address = {",".join(launch.hosts)}
port = {port}
socket = {launch.folder}/socket
pid-file = {launch.folder}/pid
skip-grant-tables
skip-networking = 0
skip-name-resolve
skip-log-bin
innodb = OFF
default-storage-engine = Aria
default-tmp-storage-engine = Aria
aria-pagecache-buffer-size = 1M
key-buffer-size = 1M
performance-schema = OFF
table-open-cache = 64
max-connections = 50
{tls if launch.tls else "skip-ssl"}
"""
    conf = launch.write("my.cnf", configuration)
    launch.start([program, f"--defaults-file={conf}"])
    launch.answers(port, b"", b"MariaDB")
    return Daemon(launch.hosts, port, 0, launch.folder)


def redis(launch: Launch) -> Daemon:
    """Redis, plain and under TLS."""
    program = demand("redis-server")
    port, tls_port = launch.ports()
    tls = f"""
tls-port {tls_port}
tls-cert-file {launch.cert}
tls-key-file {launch.key}
tls-ca-cert-file {launch.ca}
tls-auth-clients {launch.client_auth(ask="optional", require="yes") or "no"}
tls-protocols "{" ".join(f"TLSv{version}" for version in launch.versions)}"
"""
    configuration = f"""
bind {" ".join(launch.hosts)}
port {port}
dir {launch.folder}
save ""
appendonly no
daemonize no
databases 1
{tls if launch.tls else ""}
"""
    conf = launch.write("redis.conf", configuration)
    launch.start([program, str(conf)])
    return launch.ready(port, tls_port, b"PING\r\n", b"+PONG")


def nats(launch: Launch) -> Daemon:
    """NATS, any user; TLS behind its INFO, whose member is tls_available, or tls_required with client certificates.

    It can require client certificates, not merely ask for them. Its TLS is Go's, which cannot be told to speak one
    version only.
    """
    program = demand("nats-server")
    if launch.variant.tls not in ("off", "any"):
        raise NotPossible("its lowest version is TLS 1.2 and its highest 1.3")
    port = launch.port()
    client_auth = launch.client_auth(ask=None, require=f'ca_file: "{launch.ca}", verify: true')
    tls = f"""
tls {{ cert_file: "{launch.cert}", key_file: "{launch.key}", timeout: 30, {client_auth} }}
allow_non_tls: {"false" if client_auth else "true"}
"""
    servers = []
    for number, host in enumerate(launch.hosts):
        configuration = f"""
listen: "{f"[{host}]" if ":" in host else host}:{port}"
{tls if launch.tls else ""}
"""
        servers.append([program, "-c", str(launch.write(f"nats-{number}.conf", configuration))])
    launch.start(*servers)
    launch.answers(port, b"", b"INFO {")
    return Daemon(launch.hosts, port, 0, launch.folder)
