"""One function for each daemon: its files, its command, and how it answers. Here gopher and the web.

The others are in `web`, `mail`, `news` (and files), `chat` and `data`; `fleet` has all of them by name.
"""

from __future__ import annotations

import random
import shlex

from tests.servers.launcher import Daemon, Launch, demand

__all__ = ["NGINX_FILE", "gopher_menu", "gophernicus", "nginx", "nginx_configuration"]

# 10 MiB in which no part resembles another: a lost, doubled or misplaced chunk cannot go unseen.
NGINX_FILE = random.Random(10).randbytes(10 << 20)


def gopher_menu(port: int) -> bytes:
    """Return what gophernicus answers to an empty line that comes in on `port`."""
    return f"iWelcome\t\tnull.host\t1\r\n0A greeting\t/hello.txt\tlocalhost\t{port}\r\n.\r\n".encode()


def gophernicus(launch: Launch) -> Daemon:
    """Gopher (RFC 1436): a program for inetd, whose part socat plays, under TLS too.

    socat can require client certificates, not merely ask for them.
    """
    socat, program = demand("socat"), demand("gophernicus")
    port, tls_port = launch.ports()
    menu = launch.mkdir("menu")
    launch.write("menu/gophermap", "Welcome\r\n0A greeting\thello.txt\r\n")
    launch.write("menu/hello.txt", "hello\r\n")

    def listen(kind: str, host: str, at_port: int, more: str) -> list[str]:
        family, bind = ("ip6", f"[{host}]") if ":" in host else ("ip4", host)
        # no: shared memory, home folders, version footer, virtual hosts
        answer = shlex.join([program, "-h", "localhost", "-p", str(at_port), "-r", str(menu)])
        return [
            socat,
            f"{kind}-LISTEN:{at_port},pf={family},bind={bind},fork,reuseaddr,backlog=128{more}",
            f"EXEC:{answer} -nm -nu -nf -nv",
        ]

    verify = launch.client_auth(ask=None, require=f"cafile={launch.ca},verify=1") or "verify=0"
    listeners = [listen("TCP", host, port, "") for host in launch.hosts]
    if launch.tls:
        more = f",cert={launch.cert},key={launch.key},{verify}"
        listeners += [listen("OPENSSL", host, tls_port, more) for host in launch.hosts]
    launch.start(*listeners)
    return launch.ready(port, tls_port, b"\r\n", b"\r\n.\r\n")


def nginx(launch: Launch) -> Daemon:
    """HTTP and HTTPS: /10M.bin is NGINX_FILE, /tls tells what was negotiated.

    A client without the certificate that is required is answered under TLS, with status 400. One that ends right behind
    its request gets some 4 MiB of the file in clear text, and now and then less than all of it under TLS.
    """
    program = demand("nginx")
    port, tls_port = launch.ports()
    launch.write("www/index.html", "hello\n")
    launch.write("www/10M.bin", NGINX_FILE)
    conf = launch.write("nginx.conf", nginx_configuration(launch, port, tls_port, f"root {launch.folder}/www;"))
    launch.start([program, "-e", str(launch.log), "-p", str(launch.folder), "-c", str(conf)])
    get = b"GET / HTTP/1.0\r\n\r\n"
    return launch.ready(port, tls_port, get, b"hello")


def nginx_configuration(launch: Launch, port: int, tls_port: int, content: str) -> str:
    """Debian's configuration, in our folder; `content` is what the one server has to offer."""
    bracketed = [f"[{host}]" if ":" in host else host for host in launch.hosts]
    listens = "\n".join(f"    listen {host}:{port};" for host in bracketed)
    if launch.tls:
        listens += "\n".join(f"\n    listen {host}:{tls_port} ssl http2;" for host in bracketed)
    client_auth = launch.client_auth(
        ask=f"ssl_client_certificate {launch.ca}; ssl_verify_client optional;",
        require=f"ssl_client_certificate {launch.ca}; ssl_verify_client on;",
    )
    # Of its own, since neither is taken from OpenSSL's configuration.
    versions = " ".join(f"TLSv{version}" for version in launch.versions if launch.tls)
    ciphers = "ssl_ciphers DEFAULT:@SECLEVEL=0;" if launch.lax else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {launch.mkdir('tmp/' + kind)};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
pid {launch.folder}/pid;
error_log {launch.log} warn;
worker_processes 1;
events {{ worker_connections 768; }}
http {{
  sendfile on;
  tcp_nopush on;
  types_hash_max_size 2048;
  ssl_prefer_server_ciphers on;
  gzip on;
  access_log off;
{temporary}
  default_type application/octet-stream;
  server {{
{listens}
    server_name localhost;
    ssl_certificate {launch.cert};
    ssl_certificate_key {launch.key};
    ssl_protocols {versions or "TLSv1.3"};
    {ciphers}
    {client_auth}
    {content}
    location = /tls {{
      default_type text/plain;
      return 200 "$ssl_protocol $ssl_cipher client=$ssl_client_s_dn sni=$ssl_server_name alpn=$ssl_alpn_protocol\\n";
    }}
  }}
}}
"""
