"""Start a real daemon on loopback, wait until it answers in its own protocol, and stop it in order.

A daemon is a function (see `fleet` for all of them) that gets a `Launch`, prepares files and ports with it,
starts the daemon's processes and waits for answers; what it returns is the `Daemon` that tests use. The
daemon listens at the same port on every address in `hosts`, runs unprivileged even if the tests are root,
and is stopped by a supervisor process when the tests end, however they end. How it is to be set up (its
certificate, its TLS version) is the launch's `Variant`; what a program cannot do raises `NotPossible`.
"""

from __future__ import annotations

import glob
import grp
import json
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from tests.helpers.certs import CertSet, Kind

__all__ = [
    "ClientAuth",
    "Daemon",
    "Launch",
    "LaunchError",
    "NotInstalled",
    "NotPossible",
    "Tls",
    "Variant",
    "demand",
    "launched",
]

Tls = Literal["off", "any", "1.1", "1.2", "1.3"]
ClientAuth = Literal["no", "ask", "require"]

# Debian's sbin folders are not on an ordinary user's PATH, the others are on nobody's.
_MORE_PATH = (
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/usr/lib/news/bin",
    "/usr/local/lib/cfcat-proftpd/usr/sbin",  # unpacked by .ci/run: they cannot be installed beside vsftpd
    "/usr/local/lib/cfcat-pure-ftpd/usr/sbin",
    *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True),
)
# Whom root runs daemons as: on every Linux and macOS, owner of nothing that matters.
_USER = "daemon"
_ANSWER_S = 10.0
_POLL_S = 0.01
_TRIES = 3
# What they say of a port that is somebody else's; the second is vsftpd's.
_TAKEN = re.compile("in use|could not bind")
# Below the ports that Linux and macOS give to outgoing connections, which could take one between our look
# and the daemon's bind.
_PORTS = range(20_000, 32_000)


class NotInstalled(Exception):
    """A program that the daemon needs is not on this machine."""


class NotPossible(Exception):
    """The daemon cannot be set up in the way that was asked for: the test is wrong."""


class LaunchError(Exception):
    """The daemon did not come up, or ended by itself; has the end of its log."""


@dataclass(frozen=True)
class Variant:
    """How a daemon is to be set up.

    cert         the certificate that it presents
    tls          the one version that it speaks; "any" is 1.2 and 1.3; "off": it offers no TLS, and refuses it
    client_auth  whether it asks clients for a certificate from the CA, and turns those without one away
    host         the one address at which it listens; None is every loopback address of the machine
    """

    cert: Kind = "good"
    tls: Tls = "any"
    client_auth: ClientAuth = "no"
    host: str | None = None


@dataclass(frozen=True)
class Daemon:
    """A running daemon: `port` speaks its protocol in clear text, `tls_port` under TLS from the first byte.

    Where a daemon upgrades to TLS within its protocol, it does so at `port`. `tls_port` is 0 where there is
    none: the databases have one port for everything, and with `tls="off"` nobody has it.
    """

    hosts: tuple[str, ...]  # each at the same ports
    port: int
    tls_port: int
    folder: Path  # its files, below it and only there

    def need(self, host: str) -> None:
        """Skip the test where this machine has no such loopback address; as with a missing program."""
        if host not in self.hosts:
            _do_without(NotInstalled(f"no address {host} on this machine"))


class Launch:
    """What a daemon's function works with: a folder, ports, a certificate, and start()."""

    def __init__(self, certs: CertSet, variant: Variant | None = None) -> None:
        self.variant = variant or Variant()
        self.hosts = _loopback_addresses(self.variant.host)
        # Not pytest's tmp_path, which only its owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="cfcat-daemon-", dir=_open_folder()))
        self.folder.chmod(0o755)
        # Copies, which the daemon's user may own: several daemons refuse another's key.
        self.cert = self.write("server.crt", certs[self.variant.cert].chain.read_bytes())
        self.key = self.write("server.key", certs[self.variant.cert].key.read_bytes(), 0o600)
        self.ca = self.write("ca.pem", certs.ca.read_bytes())
        self.log = self.write("log", b"")  # here, so that it becomes the daemon's
        self.env = {"PATH": _search_path(), "HOME": str(self.folder), "LC_ALL": "C", "TZ": "UTC", **self._tls_env()}
        self.supervisor: subprocess.Popen[bytes] | None = None  # ends when the daemon does
        self._certs = certs
        self._user = _USER if os.geteuid() == 0 else None
        self._taken: set[int] = set()

    @property
    def tls(self) -> bool:
        """Whether the daemon is to offer TLS."""
        return self.variant.tls != "off"

    @property
    def versions(self) -> list[str]:
        """The TLS versions to speak, lowest first, as in "1.2"."""
        return ["1.2", "1.3"] if self.variant.tls == "any" else [self.variant.tls]

    @property
    def lax(self) -> bool:
        """Whether OpenSSL's security level must be lowered for what is asked for."""
        return self.variant.cert == "weak" or self.variant.tls == "1.1"

    @property
    def user(self) -> str:
        """Whom the daemon runs as."""
        return self._user or pwd.getpwuid(os.geteuid()).pw_name

    @property
    def group(self) -> str:
        """The group that the daemon runs in."""
        return self._user or grp.getgrgid(os.getegid()).gr_name

    def client_auth(self, *, ask: str | None, require: str | None) -> str:
        """Return the piece of configuration for what is asked for: one of the two, or ""; None is not possible."""
        wanted = {"no": "", "ask": ask, "require": require}[self.variant.client_auth]
        if wanted is None:
            raise NotPossible(f"this daemon cannot {self.variant.client_auth} client certificates")
        return wanted

    def port(self) -> int:
        """Return a port that is free on every address in `hosts`; no two calls return the same."""
        for port in random.sample(_PORTS, 200):
            if port not in self._taken and all(_is_free(host, port) for host in self.hosts):
                self._taken.add(port)
                return port
        raise LaunchError("no free port")

    def ports(self) -> tuple[int, int]:
        """Return a port for clear text and one for TLS; 0 for the latter where there is to be no TLS."""
        return self.port(), self.port() if self.tls else 0

    def write(self, name: str, content: str | bytes, mode: int = 0o644) -> Path:
        """Write a file below the folder, with the folders that lead to it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def mkdir(self, name: str) -> Path:
        """Make a folder below the folder."""
        path = self.folder / name
        path.mkdir(parents=True)
        return path

    def run(self, *command: str) -> None:
        """Run a program that prepares the daemon's files, and wait for its end."""
        self._hand_over()
        run = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_ANSWER_S,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        if run.returncode:
            raise LaunchError(f"{shlex.join(command)}: status {run.returncode}\n{run.stdout.decode(errors='replace')}")

    def start(self, *commands: list[str], stop: signal.Signals = signal.SIGTERM) -> None:
        """Start the daemon: one process or several, in the folder, printing to its file `log`.

        `stop` is the signal that asks it to end in order.
        """
        self._hand_over()
        job = {
            "commands": commands,
            "folder": str(self.folder),
            "user": self._user,
            "env": self.env,
            "stop": stop,
        }
        self.supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervise.py")), json.dumps(job)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the test run reaches it through the pipe, in order
        )

    def answers(self, port: int, say: bytes, expect: bytes, *, tls: bool = False) -> None:
        """Wait until a client that says `say` on `port` is answered with `expect`, on every address."""
        until = time.monotonic() + _ANSWER_S
        context = self._probe() if tls else None
        for host in self.hosts:
            while (seen := _ask(host, port, say, expect, context)) is not True:
                assert self.supervisor is not None, "not started"
                # Nothing tells when the first answer can be had; what can be waited for is the death.
                with suppress(subprocess.TimeoutExpired):
                    self.supervisor.wait(_POLL_S)
                    raise LaunchError(f"the daemon ended by itself\n{self._log()}")
                if time.monotonic() > until:
                    raise LaunchError(f"no answer at {host}:{port}, but {seen}\n{self._log()}")

    def ready(self, port: int, tls_port: int, say: bytes, expect: bytes) -> Daemon:
        """Wait until clients are answered like that on each port that is not 0, and return the daemon."""
        self.answers(port, say, expect)
        if tls_port:
            self.answers(tls_port, say, expect, tls=True)
        return Daemon(self.hosts, port, tls_port, self.folder)

    def stop(self) -> None:
        """Stop the daemon and remove the folder; raise if it had ended before."""
        try:
            if self.supervisor is not None:
                with self.supervisor as supervisor:
                    assert supervisor.stdin is not None
                    supervisor.stdin.close()
                    if supervisor.wait(_ANSWER_S):
                        raise LaunchError(f"the daemon ended by itself\n{self._log()}")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _hand_over(self) -> None:
        if self._user:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, self._user, self._user)

    def _probe(self) -> ssl.SSLContext:
        # That the certificate is the right one is for tests to see; here only that somebody speaks TLS.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self.lax:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        if self.variant.client_auth != "no":
            context.load_cert_chain(self._certs.client.chain, self._certs.client.key)
        return context

    def _tls_env(self) -> dict[str, str]:
        """Pin the version where every daemon obeys: in the two libraries, OpenSSL and GnuTLS."""
        if self.variant.tls in ("off", "any") and not self.lax:
            return {}
        defaults = "CipherString = DEFAULT:@SECLEVEL=0\n" if self.lax else ""
        overrides = ""
        if self.variant.tls not in ("off", "any"):
            defaults += f"MinProtocol = TLSv{self.variant.tls}\nMaxProtocol = TLSv{self.variant.tls}\n"
            others = {"1.0", "1.1", "1.2", "1.3"} - {self.variant.tls}
            overrides = "".join(f"disabled-version = tls{version}\n" for version in sorted(others))
        openssl = self.write(
            "openssl.cnf", f"openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n{defaults}"
        )
        gnutls = self.write("gnutls.conf", f"[overrides]\n{overrides}")
        return {"OPENSSL_CONF": str(openssl), "GNUTLS_SYSTEM_PRIORITY_FILE": str(gnutls)}

    def _log(self) -> str:
        logs = sorted(path for path in self.folder.glob("log*") if path.is_file())  # exim must have several
        return "".join(log.read_text(errors="replace")[-3000:] for log in logs)


def demand(program: str) -> str:
    """Return the path of an installed program."""
    path = shutil.which(program, path=_search_path())
    if path is None:
        raise NotInstalled(f"{program} is not installed")
    return path


@contextmanager
def launched(daemon: Callable[[Launch], Daemon], certs: CertSet, variant: Variant | None = None) -> Iterator[Daemon]:
    """Run a daemon for the block; skip the test where it is not installed.

    With CFCAT_REQUIRE_SERVERS=1 in the environment what is missing is an error instead.
    """
    try:
        launch, running = _launch(daemon, certs, variant)
    except NotInstalled as missing:
        _do_without(missing)
    try:
        yield running
    finally:
        launch.stop()


def _do_without(missing: NotInstalled) -> NoReturn:
    if os.environ.get("CFCAT_REQUIRE_SERVERS") == "1":
        raise missing
    pytest.skip(str(missing))


def _launch(daemon: Callable[[Launch], Daemon], certs: CertSet, variant: Variant | None) -> tuple[Launch, Daemon]:
    for tries_left in reversed(range(_TRIES)):
        launch = Launch(certs, variant)
        try:
            return launch, daemon(launch)
        except BaseException as error:
            with suppress(LaunchError):
                launch.stop()
            # Somebody else was faster to bind one of the ports: take others.
            if not (tries_left and isinstance(error, LaunchError) and _TAKEN.search(str(error))):
                raise
    raise AssertionError("not reached")


def _ask(host: str, port: int, say: bytes, expect: bytes, context: ssl.SSLContext | None) -> bool | str:
    """Return True if the answer has `expect` in it, else what was seen."""
    answer = b""
    try:
        plain = socket.create_connection((host, port), timeout=3)
        with plain, context.wrap_socket(plain) if context else plain as sock:
            sock.sendall(say)
            while expect not in answer:
                if not (chunk := sock.recv(4096)):
                    return f"{answer[:200]!r}"
                answer += chunk
    except OSError as error:
        return f"{answer[:200]!r}, {error!r}"
    return True


def _loopback_addresses(only: str | None) -> tuple[str, ...]:
    hosts = tuple(host for host in ("127.0.0.1", "::1") if host == (only or host) and _is_free(host, 0))
    if not hosts:
        raise NotInstalled(f"no address {only or 'on loopback'} on this machine")
    return hosts


def _is_free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def _search_path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *_MORE_PATH))


def _open_folder() -> Path:
    """Return a folder for temporary files that every user may enter."""
    for candidate in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        with suppress(OSError):
            path = candidate.resolve(strict=True)
            if all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents)):
                return path
    raise LaunchError("no temporary folder is open to the daemon's user")
