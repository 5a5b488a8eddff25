"""The ends of a tapped connection: what the far side sees is what the near side did, and the display names it."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests.helpers.certs import CertSet
from tests.tap.sides import Heard, Side, both_secure
from tests.tap.tapping import Tap, tapping

pytestmark = pytest.mark.one_python

Kind = Literal["plain", "tls", "upgraded", "tls on", "accept on"]
# Where both sides are alike; "tls on" has TLS on the server's side alone, "accept on" on the client's.
ALIKE: tuple[Kind, ...] = ("plain", "tls", "upgraded")
FLAGS: dict[Kind, tuple[str, ...]] = {"tls on": ("--tls", "on"), "accept on": ("--accept-tls", "on")}


class Pair(NamedTuple):
    """Both sides of one connection, with the tap between them."""

    client: Side
    server: Side


class Taps:
    """A tap for each kind, and connections through it."""

    def __init__(self, certs: CertSet, folder: Path) -> None:
        self._certs = certs
        self._folder = folder
        self._exits = ExitStack()
        self._listeners: dict[Kind, socket.socket] = {}
        self._taps: dict[Kind, Tap] = {}
        self._sides: list[Side] = []

    def close_sides(self) -> None:
        for side in self._sides:
            side.close()
        self._sides.clear()

    def _side(self, sock: socket.socket) -> Side:
        side = Side(sock)
        self._sides.append(side)
        return side

    def __enter__(self) -> Taps:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def tap(self, kind: Kind) -> Tap:
        if kind not in self._taps:
            listener = self._exits.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(20)
            self._listeners[kind] = listener
            target = f"localhost:{listener.getsockname()[1]}"
            folder = self._folder / kind.replace(" ", "-")
            folder.mkdir()
            flags = (*FLAGS.get(kind, ()), "--cacert", str(self._certs.ca), "--json", "-4")
            self._taps[kind] = self._exits.enter_context(tapping(target, *flags, folder=folder, timeout_s=600))
        return self._taps[kind]

    def report(self, kind: Kind) -> dict[str, object]:
        """The object of `--json` of the connection that has just ended."""
        program = self.tap(kind).program
        before = len(program.seen_stderr)
        program.seen_stderr = program.seen_stderr[before:]
        said = program.read_stderr_until("}\n")
        program.seen_stderr = b""
        return dict(json.loads(said.splitlines()[-1]))

    def connect(self, kind: Kind) -> Pair:
        tap = self.tap(kind)
        client = self._side(socket.create_connection(("127.0.0.1", tap.port)))
        trust = ssl.create_default_context(cafile=str(tap.ca))
        serving = self._certs.server_context()
        if kind == "accept on":
            client.secure(trust, "localhost")
            return Pair(client, self._side(self._listeners[kind].accept()[0]))
        if kind == "tls on":
            server = self._side(self._listeners[kind].accept()[0])
            server.secure(serving)
            return Pair(client, server)
        server = self._side(self._listeners[kind].accept()[0])
        if kind == "upgraded":
            server.send(b"ready\n")
            assert client.hear_bytes(6) == b"ready\n"
            client.send(b"STARTTLS\n")
            assert server.hear_bytes(9) == b"STARTTLS\n"
            server.send(b"go\n")
            assert client.hear_bytes(3) == b"go\n"
        if kind != "plain":
            both_secure(client, server, trust, serving)
        return Pair(client, server)


@pytest.fixture(scope="module")
def all_taps(certs: CertSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taps]:
    with Taps(certs, tmp_path_factory.mktemp("taps")) as made:
        yield made


@pytest.fixture
def taps(all_taps: Taps) -> Iterator[Taps]:
    yield all_taps
    all_taps.close_sides()


@pytest.fixture(params=["client", "server"])
def near_is(request: pytest.FixtureRequest) -> Literal["client", "server"]:
    return request.param  # type: ignore[no-any-return]


def sides(pair: Pair, near: str) -> tuple[Side, Side]:
    return (pair.client, pair.server) if near == "client" else (pair.server, pair.client)


def hows(report: dict[str, object], side: str) -> list[str]:
    ends = report["ends"]
    assert isinstance(ends, list)
    return [end["how"] for end in ends if end["side"] == side]


@pytest.mark.parametrize("kind", ALIKE)
def test_a_half_close_leaves_the_other_direction_open(kind: Kind, near_is: str, taps: Taps) -> None:
    """FIN or close_notify alone; the answer comes behind it, and then the other side's end."""
    pair = taps.connect(kind)
    near, far = sides(pair, near_is)
    near.send(b"request")
    if kind == "plain":
        near.fin()
    else:
        near.close_notify()
    assert far.hear_bytes(7) == b"request"
    assert far.hear() == ("fin" if kind == "plain" else "close_notify")
    far.send(b"answer" * 100_000)
    assert near.hear_bytes(600_000) == b"answer" * 100_000
    if kind == "plain":
        far.fin()
        assert near.hear() == "fin"
    else:
        far.close_notify()
        assert near.hear() == "close_notify"
        near.fin()
        assert far.hear() == "fin"
        far.fin()
        assert near.hear() == "fin"
    report = taps.report(kind)
    assert report["status"] == 0
    assert hows(report, near_is) == (["end"] if kind == "plain" else ["close_notify", "fin"])


@pytest.mark.parametrize("kind", ["tls", "upgraded"])
def test_close_notify_and_fin_are_two_ends(kind: Kind, near_is: str, taps: Taps) -> None:
    """One right behind the other arrives so, and each by itself."""
    near, far = sides(taps.connect(kind), near_is)
    near.send(b"all")
    near.close_notify()
    near.fin()
    assert far.hear_all() == (b"all", ["close_notify", "fin"])
    far.close_notify()
    far.fin()
    assert near.hear_all() == (b"", ["close_notify", "fin"])
    assert taps.report(kind)["status"] == 0


@pytest.mark.parametrize("kind", ["tls", "upgraded"])
def test_tls_that_is_cut_short_is_cut_short(kind: Kind, near_is: str, taps: Taps) -> None:
    """FIN without close_notify; the other direction goes on; status 18."""
    near, far = sides(taps.connect(kind), near_is)
    near.send(b"part")
    near.fin()
    assert far.hear_all() == (b"part", ["fin"])
    far.send(b"still here")
    assert near.hear_bytes(10) == b"still here"
    far.close_notify()
    far.fin()
    assert near.hear_all() == (b"", ["close_notify", "fin"])
    report = taps.report(kind)
    assert (report["status"], report["end"]) == (18, "truncated")
    assert hows(report, near_is) == ["cut"]


@pytest.mark.parametrize("kind", ALIKE)
def test_a_reset_is_a_reset_behind_all_that_came_before(kind: Kind, near_is: str, taps: Taps) -> None:
    """The bytes before it are delivered; status 56."""
    near, far = sides(taps.connect(kind), near_is)
    far.send(b"for nobody")
    near.send(b"before" * 10_000)
    assert far.hear_bytes(60_000) == b"before" * 10_000
    near.reset()
    assert far.hear_all() == (b"", ["reset"])
    report = taps.report(kind)
    assert (report["status"] in (55, 56), report["end"]) == (True, "reset")  # by who notices it
    assert hows(report, near_is) == ["reset"]


@pytest.mark.parametrize("kind", ["tls", "upgraded"])
def test_a_reset_behind_both_ends_of_tls_is_passed_on(kind: Kind, near_is: str, taps: Taps) -> None:
    """Both have said close_notify, and one waits for the other's FIN: a reset comes in its place, from one that does
    not read the last record.
    """
    near, far = sides(taps.connect(kind), near_is)
    for this, other in ((near, far), (far, near)):
        this.close_notify()
        assert other.hear() == "close_notify"
    near.reset()
    assert far.hear() == "reset"
    report = taps.report(kind)
    assert (report["status"], report["message"]) == (0, None)  # nothing can be lost any more
    assert hows(report, near_is) == ["close_notify", "reset"]


@pytest.mark.parametrize("kind", ALIKE)
def test_a_side_that_is_gone_when_it_is_written_to_is_a_reset_too(kind: Kind, near_is: str, taps: Taps) -> None:
    """It has ended in order, and then closed: what the other says meets a reset."""
    near, far = sides(taps.connect(kind), near_is)
    if kind != "plain":
        near.close_notify()
    near.close()
    end: tuple[Heard, ...] = ("fin",) if kind == "plain" else ("close_notify", "fin")
    for one in end:
        assert far.hear() == one
    far.send(b"for nobody")
    assert far.learns_that_it_is_gone()
    assert taps.report(kind)["status"] in (55, 56)


@pytest.mark.parametrize("kind", ["tls", "upgraded"])
def test_a_side_that_has_left_need_not_take_the_others_end(kind: Kind, near_is: str, taps: Taps) -> None:
    """It has ended TLS and TCP in order, and all that it does not take is a close_notify: psql ends so."""
    for _ in range(5):  # whose packet comes first is the kernel's choice
        near, far = sides(taps.connect(kind), near_is)
        near.send(b"bye")
        near.close_notify()
        near.close()
        assert far.hear_all() == (b"bye", ["close_notify", "fin"])
        far.close_notify()
        far.close()
        report = taps.report(kind)
        assert (report["status"], report["message"]) == (0, None)
        assert hows(report, near_is) == ["close_notify", "fin"]


@pytest.mark.parametrize("kind", ["tls", "upgraded"])
def test_rubbish_in_place_of_records_breaks_the_connection(kind: Kind, near_is: str, taps: Taps) -> None:
    """The far side gets what was genuine, and a reset; the tap goes on."""
    near, far = sides(taps.connect(kind), near_is)
    near.send(b"good")
    assert far.hear_bytes(4) == b"good"
    near.send_raw(b"\x17\x03\x03\x00\x20" + b"?" * 32)
    assert far.hear_all() == (b"", ["reset"])
    report = taps.report(kind)
    assert report["status"] == 35
    assert hows(report, near_is) == ["broken"]
    taps.connect(kind).client.reset()
    taps.report(kind)


# Where one side has TLS and the other has not: what an end becomes.
MIXED: tuple[tuple[Kind, str, Callable[[Side], None], list[Heard]], ...] = (
    ("tls on", "client", Side.fin, ["close_notify", "fin"]),
    ("tls on", "server", Side.close_notify, ["fin"]),
    ("tls on", "server", Side.fin, ["reset"]),
    ("accept on", "client", Side.close_notify, ["fin"]),
    ("accept on", "client", Side.fin, ["reset"]),
    ("accept on", "server", Side.fin, ["close_notify", "fin"]),
)


@pytest.mark.parametrize(
    ("kind", "near_is", "end", "heard"), MIXED, ids=[f"{row[0]}-{row[1]}-{row[2].__name__}" for row in MIXED]
)
def test_with_tls_on_one_side_an_end_keeps_its_meaning(
    kind: Kind, near_is: str, end: Callable[[Side], None], heard: list[Heard], taps: Taps
) -> None:
    """TLS that is cut short is a reset in clear text, lest a part look like the whole."""
    near, far = sides(taps.connect(kind), near_is)
    near.send(b"data")
    end(near)
    assert far.hear_all() == (b"data", heard)
    if heard != ["reset"]:
        far.send(b"back")
        assert near.hear_bytes(4) == b"back"
    far.close()
    near.close()
    taps.report(kind)
