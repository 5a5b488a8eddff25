"""The web as it is: Apache, HAProxy, nginx as a proxy, Node, Python's own server, as Debian or their manuals have them.

When a client half-closes right behind its request, as nc -N does:
- nginx cuts a large file, in clear text and under TLS, and as a proxy it answers nothing, because it takes a FIN for a
  client that left (499);
- Node's `http` answers nothing, and its `net` ends with the client, unless `allowHalfOpen` is set.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.servers.daemons import NGINX_FILE, nginx_configuration
from tests.servers.launcher import Daemon, Launch, NotInstalled, demand

__all__ = [
    "ANSWER",
    "THINKS_S",
    "apache",
    "haproxy",
    "haproxy_behind_proxy",
    "haproxy_sending",
    "nginx_behind_proxy",
    "nginx_proxy",
    "node_http",
    "node_net",
    "node_net_half_open",
    "python_http",
]

# What takes a moment to be made, by a server behind a proxy or by a program of one's own.
ANSWER = b"an answer that took a moment\n"
THINKS_S = 0.3
GET = b"GET / HTTP/1.0\r\n\r\n"


def apache(launch: Launch) -> Daemon:
    """HTTP and HTTPS by Apache: /10M.bin is NGINX_FILE. Modules and settings are those that Debian enables."""
    program = demand("apache2")
    port, tls_port = launch.ports()
    launch.write("www/index.html", "hello\n")
    launch.write("www/10M.bin", NGINX_FILE)
    modules = "/usr/lib/apache2/modules"
    names = ["mpm_event", "authz_core", "mime", "dir", "reqtimeout", *(["socache_shmcb", "ssl"] if launch.tls else [])]
    bracketed = [f"[{host}]" if ":" in host else host for host in launch.hosts]
    ports = [at for at in (port, tls_port) if at]
    versions = " ".join(f"+TLSv{version}" for version in launch.versions)
    tls = f"""
<VirtualHost *:{tls_port}>
  SSLEngine on
  SSLCertificateFile {launch.cert}
  SSLCertificateKeyFile {launch.key}
  SSLProtocol -all {versions}
</VirtualHost>
"""
    configuration = f"""
ServerRoot {launch.folder}
ServerName localhost
PidFile {launch.folder}/pid
DefaultRuntimeDir {launch.mkdir("run")}
ErrorLog {launch.log}
LogLevel warn
{"".join(f"LoadModule {name}_module {modules}/mod_{name}.so{chr(10)}" for name in names)}
{"".join(f"Listen {host}:{at}{chr(10)}" for host in bracketed for at in ports)}
TypesConfig /etc/mime.types
Timeout 300
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout 5
RequestReadTimeout header=20-40,minrate=500
RequestReadTimeout body=10,minrate=500
StartServers 1
MinSpareThreads 5
ThreadsPerChild 10
MaxRequestWorkers 40
DocumentRoot {launch.folder}/www
{tls if launch.tls else ""}
"""
    conf = launch.write("apache.conf", configuration)
    launch.start([program, "-D", "FOREGROUND", "-f", str(conf)])
    return launch.ready(port, tls_port, GET, b"hello")


def haproxy(launch: Launch) -> Daemon:
    """HTTP and HTTPS by HAProxy, with Debian's defaults, before a server that thinks for a moment: ANSWER."""
    program = demand("haproxy")
    port, tls_port = launch.ports()
    behind = launch.port()
    pair = launch.write("pair.pem", launch.cert.read_bytes() + launch.key.read_bytes(), 0o600)
    versions = f"ssl-min-ver TLSv{launch.versions[0]} ssl-max-ver TLSv{launch.versions[-1]}"
    bracketed = [f"[{host}]" if ":" in host else host for host in launch.hosts]
    binds = [f"  bind {host}:{port}" for host in bracketed]
    if launch.tls:
        binds += [f"  bind {host}:{tls_port} ssl crt {pair} {versions} no-tls-tickets" for host in bracketed]
    lines = "\n".join(binds)
    configuration = f"""
global
  maxconn 100
defaults
  mode http
  option dontlognull
  timeout connect 5000
  timeout client 50000
  timeout server 50000
frontend here
{lines}
  default_backend there
backend there
  server one 127.0.0.1:{behind}
"""
    conf = launch.write("haproxy.cfg", configuration)
    launch.start([program, "-db", "-f", str(conf)], _upstream(launch, behind))
    return launch.ready(port, tls_port, GET, ANSWER)


def nginx_proxy(launch: Launch) -> Daemon:
    """HTTP and HTTPS by nginx, before a server that thinks for a moment: ANSWER."""
    program = demand("nginx")
    port, tls_port = launch.ports()
    behind = launch.port()
    location = f"location / {{ proxy_pass http://127.0.0.1:{behind}; }}"
    conf = launch.write("nginx.conf", nginx_configuration(launch, port, tls_port, location))
    nginx = [program, "-e", str(launch.log), "-p", str(launch.folder), "-c", str(conf)]
    launch.start(nginx, _upstream(launch, behind))
    return launch.ready(port, tls_port, GET, ANSWER)


def python_http(launch: Launch) -> Daemon:
    """`python3 -m http.server`: /10M.bin is NGINX_FILE. It has no TLS."""
    # The system's: that of the tests may be where the daemon's user must not go.
    program = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if program is None:
        raise NotInstalled("python3 is not installed for everybody")
    port = launch.port()
    launch.write("www/index.html", "hello\n")
    launch.write("www/10M.bin", NGINX_FILE)
    www = str(launch.folder / "www")
    launch.start(*([program, "-m", "http.server", "-b", host, "-d", www, str(port)] for host in launch.hosts))
    return launch.ready(port, 0, GET, b"hello")


def node_http(launch: Launch) -> Daemon:
    """HTTP and HTTPS by Node's `http`: NGINX_FILE after a moment."""
    return _node(launch, "http", NGINX_FILE)


def node_net(launch: Launch) -> Daemon:
    """Node's `net` and `tls`: ANSWER a moment after the first bytes; it ends when its client does."""
    return _node(launch, "net", ANSWER)


def node_net_half_open(launch: Launch) -> Daemon:
    """The same with `allowHalfOpen`."""
    return _node(launch, "net-half-open", ANSWER)


def _node(launch: Launch, kind: str, answer: bytes) -> Daemon:
    port, tls_port = launch.ports()
    launch.start(_thinking(launch, kind, answer, port, tls_port))
    return launch.ready(port, tls_port, GET, b"HTTP/1.1 200 OK" if kind == "http" else answer)


def _upstream(launch: Launch, port: int) -> list[str]:
    """What a proxy has behind it."""
    return _thinking(launch, "http", ANSWER, port, 0)


def _thinking(launch: Launch, kind: str, answer: bytes, port: int, tls_port: int) -> list[str]:
    job = {
        "hosts": launch.hosts,
        "port": port,
        "tlsPort": tls_port,
        "cert": str(launch.cert),
        "key": str(launch.key),
        "kind": kind,
        "thinks": THINKS_S * 1000,
        "answer": str(launch.write("answer", answer)),
    }
    script = launch.write("thinking.js", Path(__file__).with_name("thinking.js").read_bytes())
    return [demand("node"), str(script), json.dumps(job)]


def haproxy_behind_proxy(launch: Launch) -> Daemon:
    """HTTP and HTTPS by HAProxy, which demands the PROXY header and answers with the client that it names."""
    program = demand("haproxy")
    port, tls_port = launch.ports()
    pair = launch.write("pair.pem", launch.cert.read_bytes() + launch.key.read_bytes(), 0o600)
    configuration = f"""
global
  maxconn 100
defaults
  mode http
  timeout connect 5000
  timeout client 50000
  timeout server 50000
frontend here
  bind {launch.hosts[0]}:{port} accept-proxy
  bind {launch.hosts[0]}:{tls_port} accept-proxy ssl crt {pair}
  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"
"""
    conf = launch.write("haproxy.cfg", configuration)
    launch.start([program, "-db", "-f", str(conf)])
    return _behind_proxy(launch, port, tls_port)


def haproxy_sending(launch: Launch, to: str) -> Daemon:
    """TCP by HAProxy, which tells `to` whom it speaks for, by version 2."""
    port, ready = launch.port(), launch.port()
    configuration = f"""
global
  maxconn 100
defaults
  mode tcp
  timeout connect 5000
  timeout client 50000
  timeout server 50000
listen here
  bind {launch.hosts[0]}:{port}
  server one {to} send-proxy-v2
frontend ready
  mode http
  bind {launch.hosts[0]}:{ready}
  http-request return status 200
"""
    conf = launch.write("haproxy.cfg", configuration)
    launch.start([demand("haproxy"), "-db", "-f", str(conf)])
    launch.answers(ready, GET, b"200 OK")
    return Daemon(launch.hosts, port, 0, launch.folder)


def nginx_behind_proxy(launch: Launch) -> Daemon:
    """The same by nginx."""
    program = demand("nginx")
    port, tls_port = launch.ports()
    location = 'location / { return 200 "$proxy_protocol_addr:$proxy_protocol_port"; }'
    configuration = nginx_configuration(launch, port, tls_port, location)
    for listen in (f":{port};", f":{tls_port} ssl http2;"):
        configuration = configuration.replace(listen, listen.replace(" http2", "").replace(";", " proxy_protocol;"))
    conf = launch.write("nginx.conf", configuration)
    launch.start([program, "-e", str(launch.log), "-p", str(launch.folder), "-c", str(conf)])
    return _behind_proxy(launch, port, tls_port)


def _behind_proxy(launch: Launch, port: int, tls_port: int) -> Daemon:
    launch.answers(port, b"PROXY UNKNOWN\r\n" + GET, b"200 OK")
    return Daemon(launch.hosts, port, tls_port, launch.folder)
