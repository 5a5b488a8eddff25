"""Printers, screens and disks: CUPS, xrdp, TigerVNC, nbdkit, as their manuals set them up; Pure-FTPd and stunnel.

Each upgrades to TLS from its own protocol. None has a port for TLS alone but CUPS, whose one port takes both.
"""

from __future__ import annotations

import random

from tests.servers.launcher import Daemon, Launch, demand

__all__ = ["NBD_DISK", "cups", "nbdkit", "pure_ftpd", "stunnel", "xrdp", "xvnc"]

NBD_DISK = random.Random(2).randbytes(4096)


def cups(launch: Launch, encryption: str = "IfRequested") -> Daemon:
    """IPP over HTTP, upgraded by RFC 2817; `encryption` is its DefaultEncryption. The rest is Debian's."""
    program = demand("cupsd")
    port = launch.port()
    folder = launch.folder
    for empty in ("run", "run/certs", "spool", "tmp", "cache"):
        launch.mkdir(empty)
    launch.write("ssl/localhost.crt", launch.cert.read_bytes())
    launch.write("ssl/localhost.key", launch.key.read_bytes(), 0o600)
    listens = "".join(f"Listen {f'[{host}]' if ':' in host else host}:{port}\n" for host in launch.hosts)
    conf = launch.write(
        "cupsd.conf",
        f"""
LogLevel warn
{listens}
ServerName localhost
Browsing No
DefaultAuthType Basic
DefaultEncryption {encryption}
WebInterface Yes
<Location />
  Order allow,deny
  {"Encryption Required" if encryption == "Required" else ""}
</Location>
""",
    )
    files = launch.write(
        "cups-files.conf",
        f"""
User {launch.user}
Group {launch.group}
SystemGroup {launch.group}
AccessLog {folder}/access
ErrorLog {launch.log}
PageLog {folder}/page
ServerRoot {folder}
RequestRoot {folder}/spool
TempDir {folder}/tmp
CacheDir {folder}/cache
StateDir {folder}/run
ServerKeychain {folder}/ssl
CreateSelfSignedCerts no
""",
    )
    launch.start([program, "-f", "-c", str(conf), "-s", str(files)])
    launch.answers(port, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 ")
    return Daemon(launch.hosts, port, port, folder)


def xrdp(launch: Launch, security: str = "negotiate") -> Daemon:
    """RDP; `security` is its security_layer. It listens at one address, or at all of the machine."""
    program = demand("xrdp")
    port = launch.port()
    conf = launch.write(
        "xrdp.ini",
        f"""[Globals]
ini_version=1
fork=true
port=tcp://.:{port}
use_vsock=false
tcp_nodelay=true
tcp_keepalive=true
security_layer={security}
crypt_level=high
certificate={launch.cert}
key_file={launch.key}
ssl_protocols=TLSv1.2, TLSv1.3
autorun=
allow_channels=true
bitmap_cache=true
max_bpp=32
[Logging]
LogFile={launch.log}
LogLevel=INFO
EnableSyslog=false
[Xorg]
name=Xorg
lib=libxup.so
username=ask
password=ask
ip=127.0.0.1
port=-1
code=20
""",
    )
    launch.start([program, "--nodaemon", "--config", str(conf)])
    request = bytes.fromhex("03000013 0ee00000000000 0100080001000000")
    launch.hosts = ("127.0.0.1",)
    launch.answers(port, request, b"\x03\x00\x00\x13")
    return Daemon(launch.hosts, port, 0, launch.folder)


def xvnc(launch: Launch) -> Daemon:
    """VNC by TigerVNC's Xvnc, with VeNCrypt's X509None: no password."""
    program = demand("Xtigervnc")
    port = launch.port()
    launch.start(
        [
            program,
            f":{port}",
            *("-rfbport", str(port), "-SecurityTypes", "X509None", "-localhost", "0"),
            *("-X509Cert", str(launch.cert), "-X509Key", str(launch.key)),
            *("-geometry", "64x48", "-nolisten", "unix", "-desktop", "cfcat"),
        ]
    )
    launch.answers(port, b"", b"RFB 003.008\n")
    return Daemon(launch.hosts, port, 0, launch.folder)


def nbdkit(launch: Launch, tls: str = "require") -> Daemon:
    """NBD: NBD_DISK, to be had under TLS only; or with tls="on" in clear text as well."""
    program = demand("nbdkit")
    port = launch.port()
    for name, path in (("ca-cert", launch.ca), ("server-cert", launch.cert), ("server-key", launch.key)):
        launch.write(f"pki/{name}.pem", path.read_bytes(), 0o600 if name == "server-key" else 0o644)
    disk = launch.write("disk", NBD_DISK)
    options = [f"--tls={tls}", f"--tls-certificates={launch.folder}/pki", "--no-fork"]
    launch.start(
        *(
            [program, *options, "-i", host, "-p", str(port), "-P", f"{launch.folder}/pid-{n}", "file", str(disk)]
            for n, host in enumerate(launch.hosts)
        )
    )
    launch.answers(port, b"", b"NBDMAGICIHAVEOPT")
    return Daemon(launch.hosts, port, 0, launch.folder)


def pure_ftpd(launch: Launch) -> Daemon:
    """FTP by Pure-FTPd, anonymous, with -Y 1: TLS where the client asks for it. One process for each address."""
    program = demand("pure-ftpd")
    port = launch.port()
    pair = launch.write("pair.pem", launch.key.read_bytes() + launch.cert.read_bytes(), 0o600)
    launch.start(
        *(
            [program, "-S", f"{host},{port}", "-e", "-H", "-Y", "1", "-2", str(pair), "-g", f"{launch.folder}/pid-{n}"]
            for n, host in enumerate(launch.hosts)
        )
    )
    launch.answers(port, b"", b"220")
    return Daemon(launch.hosts, port, 0, launch.folder)


def stunnel(launch: Launch, backend: int, protocol: str = "") -> Daemon:
    """TLS in front of a server that has none, at a port of loopback; with `protocol` after that one's STARTTLS."""
    program = demand("stunnel4")
    port = launch.port()
    conf = launch.write(
        "stunnel.conf",
        f"""
foreground = yes
pid =
output = {launch.log}
[service]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{backend}
cert = {launch.cert}
key = {launch.key}
{f"protocol = {protocol}" if protocol else ""}
""",
    )
    launch.start([program, str(conf)])
    launch.hosts = ("127.0.0.1",)
    return Daemon(launch.hosts, port, port, launch.folder)
