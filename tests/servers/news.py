"""News and files: nnrpd for NNTP, vsftpd and ProFTPD for FTP.

A client that half-closes right behind its commands loses the tail of ProFTPD's answers now and then.
"""

from __future__ import annotations

import random
import shlex

from tests.servers.launcher import Daemon, Launch, demand

__all__ = ["FTP_FILE", "NEWSGROUP", "nnrpd", "proftpd", "vsftpd"]

NEWSGROUP = "local.test"  # the only one, without articles
FTP_FILE = random.Random(1).randbytes(1 << 20)


def nnrpd(launch: Launch) -> Daemon:
    """NNTP for readers (RFC 3977), INN's; it does not ask for client certificates.

    Behind socat, which hands over each accepted socket and is out of the way ("nofork"): as a daemon, nnrpd
    binds its port by a helper that only the user "news" may run.
    """
    socat, program = demand("socat"), demand("nnrpd-ssl")
    overchan, tdx_util = demand("overchan"), demand("tdx-util")
    launch.client_auth(ask=None, require=None)
    port, tls_port = launch.ports()
    for empty in ("run", "tmp", "logs", "http", "spool/articles", "spool/overview", "spool/incoming"):
        launch.mkdir(empty)
    launch.write("db/active", f"{NEWSGROUP} 0000000000 0000000001 y\n")
    launch.write("db/newsgroups", f"{NEWSGROUP}\tA group for tests\n")
    launch.write("db/active.times", f"{NEWSGROUP} 1700000000 usenet\n")
    for name in ("history", "history.dir", "history.index", "history.hash"):
        launch.write(f"db/{name}", "")
    launch.write("spool/tradspool.map", "")
    launch.write("etc/storage.conf", "method tradspool {\n    newsgroups: *\n    class: 0\n}\n")
    readers = launch.write(
        "etc/readers.conf",
        'auth "all" {\n    hosts: "*"\n    default: "<guest>"\n}\n'
        'access "all" {\n    users: "*"\n    newsgroups: "*"\n    access: "RPA"\n}\n',
    )
    folder = launch.folder
    ciphers = 'tlsciphers: "DEFAULT:@SECLEVEL=0"' if launch.lax else ""
    tls = f"""
tlscapath: {folder}/etc
tlscertfile: {launch.cert}
tlskeyfile: {launch.key}
tlsprotocols: [ {" ".join(f"TLSv{version}" for version in launch.versions)} ]
{ciphers}
"""
    configuration = f"""
mta: "/bin/true %s"
pathhost: localhost
domain: localdomain
hismethod: hisv6
enableoverview: true
ovmethod: tradindexed
runasuser: {launch.user}
runasgroup: {launch.group}
nnrpdloadlimit: 0
pathnews: /usr/lib/news
patharchive: {folder}/spool/archive
patharticles: {folder}/spool/articles
pathbin: /usr/lib/news/bin
pathdb: {folder}/db
pathetc: {folder}/etc
pathfilter: {folder}/etc
pathhttp: {folder}/http
pathincoming: {folder}/spool/incoming
pathlog: {folder}/logs
pathoutgoing: {folder}/spool
pathoverview: {folder}/spool/overview
pathrun: {folder}/run
pathspool: {folder}/spool
pathtmp: {folder}/tmp
{tls if launch.tls else ""}
"""
    launch.env["INNCONF"] = str(launch.write("etc/inn.conf", configuration))
    launch.run(overchan)  # reads no articles, makes an empty overview
    launch.run(tdx_util, "-c", "-n", NEWSGROUP)

    def listen(host: str, at_port: int, *options: str) -> list[str]:
        family, bind = ("ip6", f"[{host}]") if ":" in host else ("ip4", host)
        answer = shlex.join([program, "-c", str(readers), *options])
        return [socat, f"TCP-LISTEN:{at_port},pf={family},bind={bind},fork,reuseaddr", f"EXEC:{answer},nofork"]

    listeners = [listen(host, port) for host in launch.hosts]
    if launch.tls:
        listeners += [listen(host, tls_port, "-S") for host in launch.hosts]
    launch.start(*listeners)
    return launch.ready(port, tls_port, b"", b"200 ")


def vsftpd(launch: Launch) -> Daemon:
    """FTP (RFC 959): "anonymous" reads hello.txt and 1M.bin, which is FTP_FILE, over plain data connections too.

    One process for each address and port. vsftpd ends a TLS connection without close_notify.
    """
    program = demand("vsftpd")
    port, tls_port = launch.ports()
    launch.write("files/hello.txt", "hello\n")
    launch.write("files/1M.bin", FTP_FILE)
    launch.mkdir("empty")
    client_auth = launch.client_auth(
        ask=f"ca_certs_file={launch.ca}\nssl_request_cert=YES",
        require=f"ca_certs_file={launch.ca}\nssl_request_cert=YES\nrequire_cert=YES\nvalidate_cert=YES",
    )
    client_auth = client_auth or "ssl_request_cert=NO"

    def listen(host: str, at_port: int) -> list[str]:
        tls = f"""
ssl_enable=YES
implicit_ssl={"YES" if at_port == tls_port else "NO"}
allow_anon_ssl=YES
force_anon_data_ssl=NO
force_anon_logins_ssl=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file={launch.cert}
rsa_private_key_file={launch.key}
{client_auth}
"""
        v6 = ":" in host
        configuration = f"""
listen={"NO" if v6 else "YES"}
listen_ipv6={"YES" if v6 else "NO"}
listen_address{"6" if v6 else ""}={host}
listen_port={at_port}
background=NO
run_as_launching_user=YES
ftp_username={launch.user}
anonymous_enable=YES
local_enable=NO
anon_root={launch.folder}/files
no_anon_password=YES
secure_chroot_dir={launch.folder}/empty
allow_writeable_chroot=YES
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
connect_from_port_20=NO
xferlog_enable=YES
vsftpd_log_file={launch.folder}/transfers
{tls if launch.tls else "ssl_enable=NO"}
"""
        # It does not read blank lines in every place.
        lines = "".join(f"{line}\n" for line in configuration.splitlines() if line)
        conf = launch.write(f"vsftpd-{host.replace(':', '-')}-{at_port}.conf", lines, 0o600)
        # What it has to say before there is a client, it says to its standard input.
        return ["sh", "-c", 'exec "$0" "$1" 0>>log', program, str(conf)]

    launch.start(*(listen(host, at_port) for host in launch.hosts for at_port in (port, tls_port) if at_port))
    return launch.ready(port, tls_port, b"", b"220 ")


def proftpd(launch: Launch) -> Daemon:
    """FTP by ProFTPD, in clear text: the commands that need no login. Debian has its TLS in another package."""
    program = demand("proftpd")
    port = launch.port()
    configuration = f"""
ServerName localhost
ServerType standalone
DefaultServer on
Port {port}
DefaultAddress {" ".join(launch.hosts)}
SocketBindTight on
UseIPv6 on
User {launch.user}
Group {launch.group}
UseReverseDNS off
WtmpLog off
AuthPAM off
DelayEngine off
MaxInstances 30
PidFile {launch.folder}/pid
ScoreboardFile {launch.folder}/scoreboard
ScoreboardMutex {launch.folder}/scoreboard.lock
SystemLog {launch.folder}/system.log
ControlsEngine off
"""
    conf = launch.write("proftpd.conf", configuration)
    launch.start([program, "-n", "-c", str(conf)])
    return launch.ready(port, 0, b"", b"220 ")
