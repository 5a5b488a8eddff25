"""Who takes part, and how each is called. A tool that is not installed is left out, and named."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["CFCAT", "commands", "listeners"]

CFCAT = "cfcat"
# In downloads each tool is in the mode that its manual gives for receiving only: some wait for stdin otherwise.
PLAIN = {
    "nc": "nc.openbsd -N {host} {port}",
    "ncat": "ncat {host} {port}",
    "socat": "socat -t 10 - TCP:{host}:{port}",
    "socat -b 262144": "socat -t 10 -b 262144 - TCP:{host}:{port}",
}
PLAIN_DOWN = {
    "nc": "nc.openbsd -d {host} {port}",
    "ncat": "ncat --recv-only {host} {port}",
    "socat": "socat -u TCP:{host}:{port} -",
    "socat -b 262144": "socat -u -b 262144 TCP:{host}:{port} -",
}
TLS = {
    "ncat": "ncat --ssl {host} {port}",
    "socat": "socat -t 10 - OPENSSL:{host}:{port},cafile={ca}",
    "socat -b 262144": "socat -t 10 -b 262144 - OPENSSL:{host}:{port},cafile={ca}",
    "s_client": "openssl s_client -quiet -no_ign_eof -CAfile {ca} -connect {host}:{port}",
}
TLS_DOWN = {
    "ncat": "ncat --ssl --recv-only {host} {port}",
    "socat": "socat -u OPENSSL:{host}:{port},cafile={ca} -",
    "socat -b 262144": "socat -u -b 262144 OPENSSL:{host}:{port},cafile={ca} -",
    "s_client": "openssl s_client -quiet -CAfile {ca} -connect {host}:{port}",
}
# The same, listening: what a client sends is "down", what it gets "up".
LISTEN = {
    "nc": "nc.openbsd -l -N {host} {port}",
    "ncat": "ncat -l --send-only {host} {port}",
    "socat": "socat -u - TCP-LISTEN:{port},bind={host},reuseaddr",
    "socat -b 262144": "socat -u -b 262144 - TCP-LISTEN:{port},bind={host},reuseaddr",
}
LISTEN_DOWN = {
    "nc": "nc.openbsd -l -d {host} {port}",
    "ncat": "ncat -l --recv-only {host} {port}",
    "socat": "socat -u TCP-LISTEN:{port},bind={host},reuseaddr -",
    "socat -b 262144": "socat -u -b 262144 TCP-LISTEN:{port},bind={host},reuseaddr -",
}
LISTEN_TLS = {
    "ncat": "ncat -l --send-only --ssl --ssl-cert {own} --ssl-key {own} {host} {port}",
    "socat": "socat -u - OPENSSL-LISTEN:{port},bind={host},reuseaddr,cert={own},verify=0",
    "socat -b 262144": "socat -u -b 262144 - OPENSSL-LISTEN:{port},bind={host},reuseaddr,cert={own},verify=0",
}
LISTEN_TLS_DOWN = {
    "ncat": "ncat -l --recv-only --ssl --ssl-cert {own} --ssl-key {own} {host} {port}",
    "socat": "socat -u OPENSSL-LISTEN:{port},bind={host},reuseaddr,cert={own},verify=0 -",
    "socat -b 262144": "socat -u -b 262144 OPENSSL-LISTEN:{port},bind={host},reuseaddr,cert={own},verify=0 -",
}
LISTENERS: Mapping[tuple[bool, bool], Mapping[str, str]] = {
    (False, False): LISTEN,
    (False, True): LISTEN_DOWN,
    (True, False): LISTEN_TLS,
    (True, True): LISTEN_TLS_DOWN,
}
PEERS: Mapping[tuple[bool, bool], Mapping[str, str]] = {
    (False, False): PLAIN,
    (False, True): PLAIN_DOWN,
    (True, False): TLS,
    (True, True): TLS_DOWN,
}


def commands(port: int, ca: Path, *, tls: bool, down: bool) -> tuple[dict[str, list[str]], list[str]]:
    """The command line of every tool that is installed, cfcat first, and the names of those that are not."""
    host = "localhost" if tls else "127.0.0.1"
    found = {CFCAT: [*_cfcat(), *(["--tls", "on", "--cacert", str(ca)] if tls else []), f"{host}:{port}"]}
    return _with_peers(found, PEERS[tls, down], {"host": host, "port": port, "ca": ca})


def listeners(port: int, own: Path, *, tls: bool, down: bool) -> tuple[dict[str, list[str]], list[str]]:
    """The same for tools that listen; `own`: their certificate with its key."""
    certificate = ["--tls", "on", "--cert", str(own)] if tls else []
    found = {CFCAT: [*_cfcat(), "-l", *certificate, f"127.0.0.1:{port}"]}
    return _with_peers(found, LISTENERS[tls, down], {"host": "127.0.0.1", "port": port, "own": own})


def _with_peers(
    found: dict[str, list[str]], forms: Mapping[str, str], words: Mapping[str, object]
) -> tuple[dict[str, list[str]], list[str]]:
    missing = []
    for name, form in forms.items():
        command = form.format_map(words).split(" ")
        if shutil.which(command[0]):
            found[name] = command
        else:
            missing.append(name)
    return found, missing


def _cfcat() -> list[str]:
    """As it is installed beside the interpreter that runs this: what a user starts."""
    script = Path(sys.executable).with_name("cfcat")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "cfcat"]
