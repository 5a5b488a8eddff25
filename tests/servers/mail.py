"""Mail: exim for SMTP; dovecot for IMAP, POP3, ManageSieve and LMTP.

When a client half-closes under TLS:
- exim leaves the connection open after close_notify; after a FIN it goes on in clear text;
- dovecot ends in order; but in one connection of a hundred, most often the first, a close_notify right behind
  a command goes unseen after the answer, until a FIN. A test should say LOGOUT or QUIT.
"""

from __future__ import annotations

import grp
import pwd
import shutil
from pathlib import Path

from tests.servers.launcher import Daemon, Launch, demand

__all__ = ["PASSWORD", "USER", "dovecot_imap", "dovecot_lmtp", "dovecot_pop3", "dovecot_sieve", "exim"]

USER, PASSWORD = "user", "password"  # dovecot's


def exim(launch: Launch) -> Daemon:
    """SMTP (RFC 5321), on GnuTLS: mail for anybody at localhost goes to the file `mbox`.

    AUTH PLAIN is offered under TLS only, and takes any password. What a client says before the greeting is an
    error.
    """
    port, tls_port = launch.ports()
    # A copy is not set-user-ID, and so stays what it is started as, and minds the environment.
    program = Path(shutil.copy(demand("exim4"), launch.folder / "exim"))
    for folder in ("input", "msglog", "db"):
        launch.mkdir(f"spool/{folder}")
    client_auth = launch.client_auth(
        ask=f"tls_verify_certificates = {launch.ca}\ntls_try_verify_hosts = *",
        require=f"tls_verify_certificates = {launch.ca}\ntls_verify_hosts = *",
    )
    tls = f"""
tls_advertise_hosts = *
tls_on_connect_ports = {tls_port}
tls_certificate = {launch.cert}
tls_privatekey = {launch.key}
{client_auth}
"""
    configuration = f"""
primary_hostname = localhost
exim_path = {program}
exim_user = {launch.user}
exim_group = {launch.group}
spool_directory = {launch.folder}/spool
log_file_path = {launch.log}-%s
pid_file_path = {launch.folder}/pid
daemon_startup_retries = 0
never_users =
deliver_drop_privilege = true
domainlist local = localhost
host_lookup =
rfc1413_query_timeout = 0s
qualify_domain = localhost
local_interfaces = <; {" ; ".join(launch.hosts)}
daemon_smtp_ports = {" : ".join(str(at) for at in (port, tls_port) if at)}
{tls if launch.tls else "tls_advertise_hosts ="}
acl_smtp_rcpt = recipient
acl_smtp_data = accept
begin acl
recipient:
  accept domains = +local
  accept authenticated = *
  deny message = relay not permitted
begin routers
local:
  driver = accept
  domains = +local
  transport = mbox
begin transports
mbox:
  driver = appendfile
  file = {launch.folder}/mbox
  create_directory = false
  user = {launch.user}
  group = {launch.group}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = yes
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""
    conf = launch.write("exim.conf", configuration, 0o600)
    launch.start([str(program), "-C", str(conf), "-bdf"])
    return launch.ready(port, tls_port, b"", b"220 ")


def dovecot_imap(launch: Launch) -> Daemon:
    """IMAP (RFC 9051); no login before TLS. A client certificate that is required is for the login only."""
    return _dovecot(launch, "imap", "imap-login", ("imap", "imaps"), b"* OK ")


def dovecot_pop3(launch: Launch) -> Daemon:
    """POP3 (RFC 1939). A client certificate that is required is for the login only."""
    return _dovecot(launch, "pop3", "pop3-login", ("pop3", "pop3s"), b"+OK ")


def dovecot_sieve(launch: Launch) -> Daemon:
    """ManageSieve (RFC 5804): the greeting, and the first answer under TLS, are lines of capabilities up to OK.

    A client certificate that is required is for the login only.
    """
    return _dovecot(launch, "sieve", "managesieve-login", ("sieve", "sieves"), b"OK ")


def dovecot_lmtp(launch: Launch) -> Daemon:
    """LMTP (RFC 2033); nobody logs in, so a client certificate cannot be required."""
    return _dovecot(launch, "lmtp", "lmtp", ("lmtp", "lmtps"), b"220 ")


def _dovecot(launch: Launch, protocol: str, service: str, listeners: tuple[str, str], greeting: bytes) -> Daemon:
    """Run a dovecot 2.3 for one protocol."""
    program = demand("dovecot")
    port, tls_port = launch.ports()
    launch.write("users", f"{USER}:{{PLAIN}}{PASSWORD}\n")
    launch.mkdir("run")
    launch.mkdir("state")
    uid, gid = pwd.getpwnam(launch.user).pw_uid, grp.getgrnam(launch.group).gr_gid
    ask = f"ssl_ca = <{launch.ca}\nssl_require_crl = no\nssl_verify_client_cert = yes\n"
    require = None if service == "lmtp" else f"{ask}auth_ssl_require_client_cert = yes\n"
    tls = f"""
ssl = yes
ssl_cert = <{launch.cert}
ssl_key = <{launch.key}
ssl_min_protocol = TLSv{launch.versions[0]}
ssl_cipher_list = {"DEFAULT:@SECLEVEL=0" if launch.lax else "HIGH"}
{launch.client_auth(ask=ask, require=require)}
"""
    # chroot: what is not root cannot. service_count: login processes that serve one connection each are slow to
    # come, and one in a few hundred of managesieve's leaves the first command under TLS unanswered.
    configuration = f"""
protocols = {protocol}
listen = {", ".join(launch.hosts)}
base_dir = {launch.folder}/run
state_dir = {launch.folder}/state
log_path = {launch.log}
import_environment = TZ OPENSSL_CONF
default_internal_user = {launch.user}
default_internal_group = {launch.group}
default_login_user = {launch.user}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{launch.folder}/mail
mail_home = {launch.folder}/home
postmaster_address = postmaster@localhost
{tls if launch.tls else "ssl = no"}
disable_plaintext_auth = {"yes" if launch.tls else "no"}
auth_mechanisms = plain
passdb {{
  driver = passwd-file
  args = {launch.folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={launch.folder}/home allow_all_users=yes
}}
plugin {{
  sieve = file:{launch.folder}/sieve;active={launch.folder}/active.sieve
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-hibernate {{
  chroot =
}}
service {service} {{
  chroot =
  service_count = 0
  inet_listener {listeners[0]} {{
    port = {port}
  }}
  inet_listener {listeners[1]} {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""
    conf = launch.write("dovecot.conf", configuration)
    launch.start([program, "-F", "-c", str(conf)])
    return launch.ready(port, tls_port, b"", greeting)
