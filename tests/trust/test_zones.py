"""Link-local servers, which are reached through one interface only: `[fe80::1%eth0]:80`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.installed import demand
from tests.helpers.program import Result, shell
from tests.trust.s_server import make_authority, make_leaf

SERVER = """
import socket, ssl, subprocess, sys
listener = socket.create_server(("fe80::1%lo", 7777, 0, socket.if_nametoindex("lo")), family=socket.AF_INET6)
done = subprocess.Popen(sys.argv[3:])
connection, _ = listener.accept()
if sys.argv[1] != "plain":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    context.sni_callback = lambda tls, name, _: print("SNI", name, flush=True)
    connection = context.wrap_socket(connection, server_side=True)
connection.sendall(b"hello\\n")
connection = connection.unwrap() if sys.argv[1] != "plain" else connection
connection.close()
sys.exit(done.wait())
"""
# A network of its own, in which loopback has a link-local address.
NETWORK = "unshare --user --map-root-user --net sh -c"
UP = "ip link set lo up && ip addr add fe80::1/64 dev lo nodad"


def run(tmp_path: Path, certificate: str, cfcat: str) -> Result:
    """Serve in a network of its own, and run cfcat there. `certificate`: its file and its key's, or "plain plain"."""
    demand("unshare")
    demand("ip")
    (tmp_path / "server.py").write_text(SERVER)
    command = f"{sys.executable} {tmp_path / 'server.py'} {certificate} {cfcat}"
    return shell(f'exec {NETWORK} "{UP} && exec {command}"', timeout_s=30)


@pytest.mark.parametrize("target", ["[fe80::1%lo]:7777", "[fe80::1%25lo]:7777", "[fe80::1%1]:7777", "fe80::1%lo 7777"])
def test_a_link_local_server_is_reached(tmp_path: Path, target: str) -> None:
    """By the name of the interface, by its number, as in a URL, and without brackets where the port stands apart."""
    assert run(tmp_path, "plain plain", f"cfcat -q 3 {target}") == Result(b"hello\n", "", 0)


def test_a_zone_is_no_part_of_the_name_under_tls(tmp_path: Path) -> None:
    """The address is checked without it, and no name is asked for: a zone is this machine's own."""
    make_authority(tmp_path)
    leaf = make_leaf(tmp_path)
    cfcat = f"cfcat -q 3 --tls on --cacert {tmp_path / 'ca.pem'} [fe80::1%lo]:7777"
    result = run(tmp_path, f"{leaf.cert} {leaf.key}", cfcat)
    assert (result.stderr, result.status) == ("", 0)
    assert sorted(result.stdout.splitlines()) == [b"SNI None", b"hello"]
