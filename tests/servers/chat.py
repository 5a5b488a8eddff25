"""Chat and messages: prosody for XMPP, inspircd for IRC, mosquitto for MQTT.

When a client half-closes:
- prosody does not answer what comes right before a FIN, under TLS neither (there close_notify alone is fine);
- inspircd leaves a plain connection open after a FIN; under TLS it ends in order.
"""

from __future__ import annotations

from tests.servers.launcher import Daemon, Launch, demand

__all__ = ["inspircd", "mosquitto", "prosody_c2s", "prosody_s2s", "xmpp_header"]


def xmpp_header(stream: str) -> bytes:
    """Return what begins a stream of "client" or "server" to localhost."""
    return (
        f"<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams'"
        f" xmlns='jabber:{stream}' to='localhost' version='1.0'>"
    ).encode()


def prosody_c2s(launch: Launch) -> Daemon:
    """XMPP (RFC 6120) for clients: user@localhost with the password "password"."""
    return _prosody(launch, "client")


def prosody_s2s(launch: Launch) -> Daemon:
    """XMPP (RFC 6120) for servers."""
    return _prosody(launch, "server")


def _prosody(launch: Launch, stream: str) -> Daemon:
    program = demand("prosody")
    port, tls_port = launch.ports()
    ours, other = ("c2s", "s2s") if stream == "client" else ("s2s", "c2s")
    client_auth = launch.client_auth(
        ask=f'cafile = "{launch.ca}", verify = {{ "peer" }},',
        require=f'cafile = "{launch.ca}", verify = {{ "peer", "fail_if_no_peer_cert" }},',
    )
    client_auth = client_auth or 'verify = "none",'  # as a default, it asks servers
    # Its own words for the versions; what it is not told it takes for 1.2 and above.
    pinned = f'protocol = "tlsv{launch.variant.tls.replace(".", "_")}",' if launch.variant.tls != "any" else ""
    ciphers = 'ciphers = "DEFAULT:@SECLEVEL=0",' if launch.lax else ""
    tls = f'{{ certificate = "{launch.cert}", key = "{launch.key}", {client_auth} {pinned} {ciphers} }}'
    configuration = f"""
pidfile = "{launch.folder}/pid"
data_path = "{launch.mkdir("data")}"
log = {{ {{ levels = {{ min = "info" }}, to = "console" }} }}
modules_enabled = {{ "saslauth", "disco", "roster", "dialback", "ping"{', "tls"' if launch.tls else ""} }}
modules_disabled = {{ "{other}"{"" if launch.tls else ', "tls"'} }}
interfaces = {{ {", ".join(f'"{host}"' for host in launch.hosts)} }}
{ours}_ports = {{ {port} }}
{other}_ports = {{}}
{ours}_direct_tls_ports = {{ {tls_port or ""} }}
{other}_direct_tls_ports = {{}}
authentication = "internal_plain"
c2s_require_encryption = {"true" if launch.tls else "false"}
s2s_require_encryption = {"true" if launch.tls else "false"}
{f"{ours}_direct_tls_ssl = {tls}" if launch.tls else ""}
VirtualHost "localhost"
{f"ssl = {tls}" if launch.tls else ""}
"""
    launch.write("data/localhost/accounts/user.dat", 'return { ["password"] = "password"; };\n')
    conf = launch.write("prosody.cfg.lua", configuration)
    launch.start([program, "-F", "--config", str(conf)])
    return launch.ready(port, tls_port, xmpp_header(stream), b"features")


def inspircd(launch: Launch) -> Daemon:
    """IRC (RFC 2812), on GnuTLS, with STARTTLS; it can ask for client certificates, not require them.

    Without TLS it does not answer STARTTLS at all.
    """
    program = demand("inspircd")
    port, tls_port = launch.ports()
    ask = f'cafile="{launch.ca}" requestclientcert="yes"'
    client_auth = launch.client_auth(ask=ask, require=None) or 'requestclientcert="no"'
    tls_binds = "\n".join(
        f'<bind address="{host}" port="{tls_port}" type="clients" sslprofile="gnutls">' for host in launch.hosts
    )
    tls = f"""
<module name="ssl_gnutls">
<sslprofile name="gnutls" provider="gnutls" certfile="{launch.cert}" keyfile="{launch.key}" {client_auth}>
<module name="starttls">
<starttls provider="gnutls">
{tls_binds}
"""
    binds = "\n".join(f'<bind address="{host}" port="{port}" type="clients">' for host in launch.hosts)
    # The limits are there because its defaults are for strangers.
    configuration = f"""
<server name="irc.localhost" description="test" network="test" id="1AA">
<admin name="test" nick="test" email="test@localhost">
{binds}
<connect name="main" allow="*" timeout="60" pingfreq="120" threshold="1000" softsendq="8192"
 recvq="65536" hardsendq="1048576" localmax="1000" globalmax="1000" useident="no" resolvehostnames="no">
<performance nouserdns="yes">
<dns server="127.0.0.1" timeout="1">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{launch.log}">
<pid file="{launch.folder}/pid">
<path configdir="{launch.folder}" datadir="{launch.mkdir("data")}" logdir="{launch.folder}"
 runtimedir="{launch.folder}">
<module name="cap">
{tls if launch.tls else ""}
"""
    conf = launch.write("inspircd.conf", configuration)
    launch.start([program, "--nofork", f"--config={conf}"])
    return launch.ready(port, tls_port, b"CAP LS 302\r\nNICK x\r\n", b" CAP ")


def mosquitto(launch: Launch) -> Daemon:
    """MQTT 3.1.1 and 5, plain and under TLS; it can require client certificates, not merely ask for them."""
    program = demand("mosquitto")
    port, tls_port = launch.ports()
    client_auth = launch.client_auth(ask=None, require=f"cafile {launch.ca}\nrequire_certificate true")
    listeners = "".join(f"listener {port} {host}\n" for host in launch.hosts)
    if launch.tls:
        more = f"certfile {launch.cert}\nkeyfile {launch.key}\n{client_auth}\n"
        listeners += "".join(f"listener {tls_port} {host}\n{more}" for host in launch.hosts)
    configuration = f"""
allow_anonymous true
persistence false
log_dest stderr
{listeners}
"""
    conf = launch.write("mosquitto.conf", configuration)
    launch.start([program, "-c", str(conf)])
    connect, accepted = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01p", b"\x20\x02\x00\x00"
    return launch.ready(port, tls_port, connect, accepted)
