"""The tap between cfcat's two halves of every protocol with an upgrade, and before a Worker in the runtime."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from cfcat.protocols import PROTOCOLS
from tests.helpers.certs import CertSet
from tests.helpers.program import Result, cfcat, finish
from tests.helpers.workerd import serving
from tests.program.test_listen import listening
from tests.servers.fleet import Fleet
from tests.tap.tapping import tapping

pytestmark = pytest.mark.one_python

# The start of a PostgreSQL connection, and a query.
WORKER = """
import { connect } from "cloudflare:sockets";
const text = (bytes) => new TextDecoder("latin1").decode(bytes);
const message = (kind, body) => {
  const bytes = new TextEncoder().encode(body);
  const size = bytes.length + 4;
  return new Uint8Array([...kind, size >> 24, size >> 16, size >> 8, size, ...bytes]);
};
async function until(reader, mark) {
  let seen = "";
  while (!seen.includes(mark)) {
    const { value, done } = await reader.read();
    if (done) throw new Error("ended after " + seen);
    seen += text(value);
  }
  return seen;
}
export default {
  async fetch(request, env) {
    let socket = connect(`localhost:${env.PORT}`, { secureTransport: "starttls" });
    let writer = socket.writable.getWriter(), reader = socket.readable.getReader();
    await writer.write(new Uint8Array([0, 0, 0, 8, 4, 210, 22, 47]));
    const answer = text((await reader.read()).value);
    writer.releaseLock();
    reader.releaseLock();
    socket = socket.startTls();
    writer = socket.writable.getWriter();
    reader = socket.readable.getReader();
    await writer.write(message([], "\\0\\x03\\0\\0user\\0postgres\\0database\\0postgres\\0\\0"));
    await until(reader, "Z\\0\\0\\0\\x05I");
    await writer.write(message([81], "select 6*7\\0"));
    const row = await until(reader, "Z\\0\\0\\0\\x05I");
    await writer.write(message([88], ""));
    return new Response(answer + (row.includes("42") ? " 42" : row));
  },
};
"""


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_the_upgrade_of_each_protocol_is_seen_through(protocol: str, certs: CertSet, tmp_path: Path) -> None:
    """Nobody tells the tap which it is; MS-TDS' handshake goes in packets on both sides."""
    results: list[Result] = []
    own = ("--cert", certs["good"].chain, "--key", certs["good"].key)
    with (
        listening("--starttls", protocol, *own) as (server, address),
        tapping(address, "--cacert", certs.ca, folder=tmp_path) as tap,
    ):
        flags = ("--starttls", protocol, "--cacert", tap.ca, "--sni", "localhost", tap.address)
        dialing = threading.Thread(target=lambda: results.append(cfcat(*flags, stdin=b"question\n")))
        dialing.start()
        assert server.read_until(b"question\n") == b"question\n"
        result = finish(server, b"answer\n")
        dialing.join()
        shown = tap.shows("over after")
        tap.end()
    assert (result.status, results[0].status, results[0].stdout) == (0, 0, b"answer\n"), results[0].stderr
    assert re.search(r"^#1 \S+ > T question\\n$", shown, re.M)
    assert re.search(r"^#1 \S+ < T answer\\n$", shown, re.M)


def test_a_worker_reaches_postgresql_under_tls(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """In the reference runtime, which trusts the tap's authority: connect() and startTls()."""
    server = daemon("postgres")
    with (
        tapping(f"localhost:{server.port}", "--cacert", certs.ca, folder=tmp_path) as tap,
        serving(WORKER, tap.ca, {"PORT": str(tap.port)}) as worker,
    ):
        assert worker.fetch() == (200, b"S 42")
        shown = tap.shows(r"> T .*select 6\*7")
        tap.end()
    assert "* - TLS with the client: " in shown
