"""Cipher suites: the same on every build of Python, OpenSSL's own list under the system's policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfcat.core.context import make_tls_context
from cfcat.errors import OptionsError
from tests.faults.ways import check_message
from tests.helpers.program import Argument, Result, cfcat, finish, start
from tests.trust.s_server import DEADLINE_S, HELLO, Leaf, make_authority, make_leaf, openssl, s_server

# Suites that some builds of Python leave out of their own list, and old appliances have nothing else.
SUITES = [
    *("AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-SHA"),
    *("ECDHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"),
]


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> Leaf:
    """With an RSA key, which most of these suites ask for."""
    folder = tmp_path_factory.mktemp("suites")
    make_authority(folder)
    return make_leaf(folder)


@pytest.mark.parametrize("suite", SUITES)
def test_a_server_with_one_suite_is_reached(leaf: Leaf, suite: str) -> None:
    """As by curl, s_client, ncat, socat and gnutls-cli."""
    with s_server(leaf, "-tls1_2", "-cipher", suite) as server:
        result = cfcat("--tls", "on", "--cacert", leaf.cert.with_name("ca.pem"), "-q", "0.3", server.target)
    assert result == Result(HELLO, "", 0)


def test_the_suites_are_those_of_openssl(tmp_path: Path) -> None:
    """What `openssl ciphers DEFAULT` lists, whatever list Python was built with."""
    ours = {suite["name"] for suite in make_tls_context(insecure=True).get_ciphers()}
    assert ours == set(openssl("ciphers", "DEFAULT", cwd=tmp_path).strip().split(":"))


def test_other_suites_can_be_asked_for() -> None:
    """TLS 1.2's by OpenSSL's names; those of TLS 1.3 stay."""
    names = {suite["name"] for suite in make_tls_context(insecure=True, ciphers="AES128-SHA:AES256-SHA").get_ciphers()}
    assert {name for name in names if not name.startswith("TLS_")} == {"AES128-SHA", "AES256-SHA"}
    assert "TLS_AES_256_GCM_SHA384" in names


@pytest.mark.parametrize("ciphers", ["NONSENSE", "", ":", "\n"])
def test_a_list_without_a_suite_is_refused(ciphers: str) -> None:
    """Before anything is connected."""
    with pytest.raises(OptionsError, match=r"no cipher suite of TLS 1\.2 matches"):
        make_tls_context(insecure=True, ciphers=ciphers)


def test_a_server_that_asks_to_renegotiate_is_told_from_one_that_refuses(leaf: Leaf) -> None:
    """It gives up when we refuse, with an alert about the handshake: say what it had asked for."""
    with s_server(leaf, "-tls1_2") as server:
        with start("--tls", "on", "--cacert", leaf.cert.with_name("ca.pem"), server.target) as program:
            program.read_until(HELLO)
            assert server.process.stdin is not None
            server.process.stdin.write(b"R\n")
            server.process.stdin.flush()
            program.wait(DEADLINE_S)
            result = finish(program)
    text = f"{server.target}: the server asked to renegotiate, which is not done here"
    hint = check_message(result, 35, text, stdout=HELLO)
    assert hint.startswith("it may want a certificate: --cert FILE shows who we are")


def test_the_command_line_chooses_the_suites(leaf: Leaf) -> None:
    """Those that are named are offered, and no other."""
    options: list[Argument] = ["--tls", "on", "--cacert", leaf.cert.with_name("ca.pem"), "-q", "0.3", "--ciphers"]
    with s_server(leaf, "-tls1_2", "-cipher", "AES128-SHA") as server:
        assert cfcat(*options, "AES128-SHA", server.target) == Result(HELLO, "", 0)
    with s_server(leaf, "-tls1_2", "-cipher", "AES256-SHA") as server:
        assert cfcat(*options, "AES128-SHA", server.target).status == 35
