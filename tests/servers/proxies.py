"""Proxies, as people run them: SOCKS by microsocks, Dante and ssh -D; HTTP by tinyproxy, squid, Apache and ncat.

Each listens on one address, and connects to this machine alone. Where there are credentials they are USER and PASSWORD.

A client's end is passed on by Dante, ssh and Apache; microsocks, tinyproxy, squid and ncat drop the connection then.
"""

from __future__ import annotations

from pathlib import Path

from tests.servers.launcher import Daemon, Launch, demand

__all__ = [
    "FORBIDDEN_PORT",
    "PASSWORD",
    "SIMPLE_PASSWORD",
    "SIMPLE_USER",
    "USER",
    "apache_proxy",
    "dante",
    "microsocks",
    "microsocks_with_password",
    "ncat_proxy",
    "squid",
    "ssh_dynamic",
    "ssh_options",
    "sshd",
    "tinyproxy",
    "tinyproxy_with_password",
]

USER, PASSWORD = "us%er", "pass:w/ord@"  # what has to be encoded in a URL
SIMPLE_USER, SIMPLE_PASSWORD = "user", "password"  # tinyproxy's file can say no others
FORBIDDEN_PORT = 19  # Dante and squid do not connect there
SOCKS, SOCKS_ANSWER = b"\x05\x01\x00", b"\x05\x00"
GET, HTTP = b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1."


def microsocks(launch: Launch) -> Daemon:
    """SOCKS 5."""
    port = launch.port()
    launch.start([demand("microsocks"), "-i", launch.hosts[0], "-p", str(port)])
    return launch.ready(port, 0, SOCKS, SOCKS_ANSWER)


def microsocks_with_password(launch: Launch) -> Daemon:
    """SOCKS 5, for USER alone."""
    port = launch.port()
    launch.start([demand("microsocks"), "-i", launch.hosts[0], "-p", str(port), "-u", USER, "-P", PASSWORD])
    return launch.ready(port, 0, b"\x05\x01\x02", b"\x05\x02")


def dante(launch: Launch) -> Daemon:
    """SOCKS 4, 4a and 5; FORBIDDEN_PORT is not allowed."""
    port = launch.port()
    configuration = f"""
logoutput: stderr
internal: {launch.hosts[0]} port = {port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: {launch.user}
user.unprivileged: {launch.user}
client pass {{ from: 0/0 to: 0/0 }}
socks block {{ from: 0/0 to: 0/0 port = {FORBIDDEN_PORT} }}
socks pass {{ from: 0/0 to: 0/0 }}
"""
    conf = launch.write("danted.conf", configuration)
    launch.start([demand("danted"), "-f", str(conf), "-p", str(launch.folder / "pid"), "-N", "1"])
    return launch.ready(port, 0, SOCKS, SOCKS_ANSWER)


def sshd(launch: Launch) -> Daemon:
    """SSH, for whoever has the key `client`; its user may have no shell, and forwards all the same."""
    port = launch.port()
    launch.start(_sshd(launch, port))
    return launch.ready(port, 0, b"", b"SSH-2.0-")


def ssh_dynamic(launch: Launch) -> Daemon:
    """SOCKS 4, 4a and 5 by `ssh -D`, to an sshd on this machine."""
    port, behind = launch.port(), launch.port()
    ssh = [demand("ssh"), "-N", "-D", f"{launch.hosts[0]}:{port}", *ssh_options(launch.folder), "-p", str(behind)]
    launch.start(_sshd(launch, behind), [*ssh, f"{launch.user}@{launch.hosts[0]}"])
    return launch.ready(port, 0, SOCKS, SOCKS_ANSWER)


def ssh_options(folder: Path) -> list[str]:
    """Those of a client that has the key, and asks nobody."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectionAttempts=10", "BatchMode=yes"]
    return ["-F", "none", "-q", "-i", str(folder / "client"), *(word for option in options for word in ("-o", option))]


def _sshd(launch: Launch, port: int) -> list[str]:
    program = demand("sshd")
    for name in ("host", "client"):
        launch.run(demand("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(launch.folder / name))
    configuration = f"""
ListenAddress {launch.hosts[0]}:{port}
HostKey {launch.folder}/host
AuthorizedKeysFile {launch.folder}/client.pub
PidFile none
StrictModes no
UsePAM no
"""
    conf = launch.write("sshd_config", configuration)
    launch.write("user", launch.user)
    return [program, "-D", "-e", "-f", str(conf)]


def tinyproxy(launch: Launch, more: str = "") -> Daemon:
    """HTTP."""
    port = launch.port()
    configuration = f"""
Port {port}
Listen {launch.hosts[0]}
Timeout 60
Allow {launch.hosts[0]}
MaxClients 20
{more}
"""
    conf = launch.write("tinyproxy.conf", configuration)
    launch.start([demand("tinyproxy"), "-d", "-c", str(conf)])
    return launch.ready(port, 0, GET, HTTP)


def tinyproxy_with_password(launch: Launch) -> Daemon:
    """HTTP, for SIMPLE_USER alone."""
    return tinyproxy(launch, f"BasicAuth {SIMPLE_USER} {SIMPLE_PASSWORD}")


def ncat_proxy(launch: Launch) -> Daemon:
    """HTTP by ncat, for USER alone."""
    port = launch.port()
    auth = ["--proxy-auth", f"{USER}:{PASSWORD}"]
    launch.start([demand("ncat"), "-l", "-k", "--proxy-type", "http", *auth, launch.hosts[0], str(port)])
    return launch.ready(port, 0, GET, HTTP)


def squid(launch: Launch) -> Daemon:
    """HTTP and HTTPS, on GnuTLS; FORBIDDEN_PORT is not allowed."""
    program = demand("squid")
    port, tls_port = launch.ports()
    host = launch.hosts[0]
    configuration = f"""
http_port {host}:{port}
https_port {host}:{tls_port} tls-cert={launch.cert} tls-key={launch.key}
acl forbidden port {FORBIDDEN_PORT}
http_access deny forbidden
http_access allow all
cache deny all
cache_log stdio:{launch.log}
access_log none
pid_filename none
coredump_dir {launch.folder}
visible_hostname localhost
shutdown_lifetime 0 seconds
dns_nameservers 127.0.0.1
"""
    conf = launch.write("squid.conf", configuration)
    launch.start([program, "-N", "-f", str(conf), "-n", f"cfcat{port}"])
    return launch.ready(port, tls_port, GET, HTTP)


def apache_proxy(launch: Launch) -> Daemon:
    """HTTPS, on OpenSSL, and HTTP."""
    program = demand("apache2")
    port, tls_port = launch.ports()
    host = launch.hosts[0]
    modules = "/usr/lib/apache2/modules"
    names = ["mpm_event", "authz_core", "proxy", "proxy_connect", "socache_shmcb", "ssl"]
    configuration = f"""
ServerRoot {launch.folder}
ServerName localhost
PidFile {launch.folder}/pid
DefaultRuntimeDir {launch.mkdir("run")}
ErrorLog {launch.log}
LogLevel warn
{"".join(f"LoadModule {name}_module {modules}/mod_{name}.so{chr(10)}" for name in names)}
Listen {host}:{port}
Listen {host}:{tls_port}
StartServers 1
MinSpareThreads 5
ThreadsPerChild 10
MaxRequestWorkers 40
ProxyRequests On
AllowCONNECT 1-65535
<VirtualHost *:{tls_port}>
  SSLEngine on
  SSLCertificateFile {launch.cert}
  SSLCertificateKeyFile {launch.key}
  ProxyRequests On
  AllowCONNECT 1-65535
</VirtualHost>
"""
    conf = launch.write("apache.conf", configuration)
    launch.start([program, "-D", "FOREGROUND", "-f", str(conf)])
    return launch.ready(port, tls_port, GET, HTTP)
