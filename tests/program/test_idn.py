"""Names beyond ASCII: resolved and verified as `xn--…`, and shown in both forms."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat

NAME, ASCII = "bücher.test", "xn--bcher-kva.test"


def test_it_is_resolved_and_verified_in_ascii(tmp_path: Path) -> None:
    """The certificate has that form, and so has SNI."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ASCII).configure_cert(context)

    def script(conn: Peer) -> None:
        conn.start_tls(context)
        conn.send(b"hello")

    with serve(script) as server:
        options = ["--tls", "on", "--cacert", str(tmp_path / "ca.pem")]
        options += ["--resolve", f"{ASCII}:{server.port}:127.0.0.1"]
        assert cfcat(*options, NAME, str(server.port)) == Result(b"hello", "", 0)
    assert server.peers[0].sni == ASCII


@pytest.mark.parametrize("repl", [[], ["--repl"]])
def test_messages_show_both_forms(repl: list[str]) -> None:
    """What was asked for, and what it reads like."""
    with refusing() as port:
        result = cfcat(*repl, "--resolve", f"{ASCII}:{port}:127.0.0.1", f"{NAME}:{port}")
    text = f"cfcat: {ASCII}:{port} ({NAME}): connection refused (tried 127.0.0.1)\n"
    assert result == Result(b"", text, 7)


def test_open_takes_it(tmp_path: Path) -> None:
    """In a session."""
    with serve(lambda conn: conn.send(b"hello\n")) as server:
        resolve = ["--resolve", f"*:{server.port}:127.0.0.1"]
        lines = f":expect hello\n:open {NAME}:{server.port}\n:expect hello\n".encode()
        result = cfcat("--repl", *resolve, f"a.test:{server.port}", stdin=lines)
    assert (result.stdout, result.status) == (b"hello\nhello\n", 0)


def test_what_is_no_name() -> None:
    """UTS 46, strictly; and why."""
    result = cfcat("bü_cher.test:80")
    assert result.status == 2
    assert result.stderr.startswith("cfcat: 'bü_cher.test:80': not a host name: Codepoint U+005F ")
