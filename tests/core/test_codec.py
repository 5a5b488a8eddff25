"""Codecs against each other in memory: a client, a server, and a wire that delivers as it likes."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.core.codec import Codec, PlainCodec
from cfcat.core.context import make_tls_context
from cfcat.core.tls import ENCODE_BYTES, TlsCodec
from cfcat.errors import LOST, CertificateError, TlsError, TruncatedError
from cfcat.report.messages import explain
from tests.helpers.certs import CertSet, Kind

BIG = bytes(range(256)) * 3200 + b"odd length"  # 819,210 bytes: many records, and no multiple of anything
LIMIT = 64 * 1024
TLS_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

Cut = Callable[[bytes], Iterator[bytes]]  # how the wire cuts what it carries


def whole(data: bytes) -> Iterator[bytes]:
    if data:
        yield data


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def read(codec: Codec, limit: int) -> bytes | None:
    """What the codec fills a buffer of `limit` bytes with."""
    buffer = memoryview(bytearray(limit))
    size = codec.read_into(buffer)
    return None if size is None else bytes(buffer[:size])


@dataclass
class Side:
    """One end: a codec, what it has put on the wire, what was read from it."""

    codec: Codec
    sent: bytes = b""
    got: bytes = b""
    eof: bool = False
    error: TlsError | None = None

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            wire_bytes, taken = self.codec.encode(rest)
            assert 0 < taken <= len(rest)
            self.sent += bytes(wire_bytes)
            rest = rest[taken:]

    def end(self) -> None:
        self.sent += self.codec.end()

    def take(self) -> bytes:
        """What is on the wire, taken off it."""
        taken, self.sent = self.sent, b""
        return taken

    def read(self, limit: int = LIMIT) -> None:
        """Read whatever is there."""
        try:
            while (chunk := read(self.codec, limit)) is not None:
                assert len(chunk) <= limit
                assert not (self.eof and chunk), "data after EOF"
                self.got += chunk
                if not chunk:
                    self.eof = True
                    return
        except TlsError as error:
            self.error = error
        finally:
            self.sent += self.codec.answer()


def carry(source: Side, target: Side, cut: Cut = whole) -> None:
    """Deliver everything on the wire, piece by piece, the target reading after each piece."""
    for piece in cut(source.take()):
        target.codec.receive(piece)
        target.read()


@dataclass
class Pair:
    """Two codecs that have shaken hands."""

    client: Side
    server: Side
    both: tuple[Side, Side] = field(init=False)

    def __post_init__(self) -> None:
        self.both = (self.client, self.server)


def client_codec(certs: CertSet, version: ssl.TLSVersion | None = None, name: str | None = "localhost") -> TlsCodec:
    """Our side: the very context that cfcat makes, pinned to a version."""
    context = make_tls_context(cacert=certs.ca)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return TlsCodec(context, name)


def server_codec(certs: CertSet, kind: Kind = "good", version: ssl.TLSVersion | None = None) -> TlsCodec:
    return TlsCodec(certs.server_context(kind, version), server_side=True)


def shake_hands(client: TlsCodec, server: TlsCodec, cut: Cut = whole) -> None:
    """Run the handshake to its end on both sides; raises what either raises."""
    done = {client: False, server: False}
    source, target = client, server
    while not all(done.values()):
        done[source] = done[source] or source.handshake()
        for piece in cut(source.answer()):
            target.receive(piece)
            done[target] = done[target] or target.handshake()
        source, target = target, source
    for piece in cut(server.answer()):
        client.receive(piece)


def tls_pair(certs: CertSet, version: ssl.TLSVersion, cut: Cut = whole) -> Pair:
    client, server = client_codec(certs, version), server_codec(certs, version=version)
    shake_hands(client, server, cut)
    pair = Pair(Side(client), Side(server))
    # Tickets, which a server of TLS 1.3 sends right after the handshake, are no data: out of the way with them.
    pair.server.sent = server.answer()
    carry(pair.server, pair.client)
    assert (pair.client.got, pair.client.sent) == (b"", b"")
    return pair


@pytest.fixture(params=TLS_VERSIONS, ids=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    chosen: ssl.TLSVersion = request.param
    return chosen


@pytest.fixture
def pair(certs: CertSet, version: ssl.TLSVersion) -> Pair:
    return tls_pair(certs, version)


@pytest.fixture(params=["plain", "TLSv1.2", "TLSv1.3"])
def any_pair(request: pytest.FixtureRequest, certs: CertSet) -> Pair:
    """Clear text too: what a codec promises it promises without TLS as well."""
    if request.param == "plain":
        return Pair(Side(PlainCodec()), Side(PlainCodec()))
    return tls_pair(certs, ssl.TLSVersion[request.param.replace(".", "_")])


# ------------------------------------------------------------------------------------- as the server


def hear(server: TlsCodec, pieces: Iterator[bytes]) -> None:
    """Take what a client sends, handshake or not: in TLS 1.3 a server is done before it knows the client's mind."""
    for piece in pieces:
        server.receive(piece)
        if server.handshake():
            read(server, 1)


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "other.example"])
def test_the_server_takes_any_sni(certs: CertSet, version: ssl.TLSVersion, cut: Cut, name: str) -> None:
    """It has no name to check: whom the client expects is the client's affair."""
    context = make_tls_context(cacert=certs.ca)
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    client, server = TlsCodec(context, name), server_codec(certs, version=version)
    shake_hands(client, server, cut)
    info = server.info()
    assert info.version == version.name.replace("_", ".")
    told = None if name == "127.0.0.1" else name
    assert (info.server_name, info.verified, info.chain) == (told, False, ())


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_the_server_checks_a_client_where_its_context_asks(certs: CertSet, version: ssl.TLSVersion, cut: Cut) -> None:
    """A certificate from the right authority is verified, though there is no host name to check."""
    context = certs.server_context(version=version)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certs.ca)
    client = TlsCodec(make_tls_context(cacert=certs.ca, cert=certs.client.chain, key=certs.client.key), "localhost")
    server = TlsCodec(context, server_side=True)
    shake_hands(client, server, cut)
    assert server.info().verified
    assert server.info().chain


def test_what_was_established_can_be_told_after_an_error(certs: CertSet, version: ssl.TLSVersion) -> None:
    """OpenSSL says less of a connection that has failed; what it came to is shown all the same."""
    client, server = client_codec(certs, version), server_codec(certs, version=version)
    shake_hands(client, server)
    for codec in (client, server):
        info = codec.info()
        codec.receive(b"\x17\x03\x03\0\x20" + bytes(32))
        with pytest.raises(TlsError):
            read(codec, 1)
        assert codec.info() == info


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_a_client_that_speaks_clear_text_is_quoted(certs: CertSet, cut: Cut) -> None:
    """The server's side has the same words for it."""
    server = server_codec(certs)
    with pytest.raises(TlsError, match="peer does not speak TLS") as caught:
        hear(server, cut(b"GET / HTTP/1.1\r\n\r\n"))
    assert caught.value.said.startswith(b"GET /")


def test_a_client_that_does_not_trust_the_server_is_named(certs: CertSet, version: ssl.TLSVersion) -> None:
    """The server learns why, from the client's alert."""
    client, server = client_codec(certs, version, "other.example"), server_codec(certs, version=version)
    with pytest.raises(CertificateError):
        shake_hands(client, server)
    with pytest.raises(TlsError, match="the client does not trust our certificate \\(alert bad certificate\\)"):
        hear(server, whole(client.answer()))


# ----------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_chunks_joined_are_what_was_written(any_pair: Pair, cut: Cut) -> None:
    """Both ways, whether the wire delivers all at once or byte by byte."""
    size = len(BIG) if cut is whole else 40_000  # more than two records
    for source, target in (any_pair.both, any_pair.both[::-1]):
        source.write(BIG[:size])
        carry(source, target, cut)
        assert target.got == BIG[:size]
        assert (target.eof, target.error) == (False, None)


def test_data_survives_every_split_of_the_wire(any_pair: Pair) -> None:
    """Two records, cut into two pieces at each place there is."""
    place = 0
    longest = 1
    while place <= longest:
        any_pair.client.got = b""
        any_pair.server.write(b"first")
        any_pair.server.write(b"second")
        longest = len(any_pair.server.sent)
        carry(any_pair.server, any_pair.client, lambda data: filter(None, (data[:place], data[place:])))  # noqa: B023
        assert any_pair.client.got == b"firstsecond"
        place += 1


def test_the_end_survives_every_split_of_the_wire(certs: CertSet, version: ssl.TLSVersion) -> None:
    """A record and close_notify, cut at each place: EOF comes with the last byte, and never before."""
    place = 0
    longest = 1
    while place <= longest:
        pair = tls_pair(certs, version)
        pair.server.write(b"last")
        pair.server.end()
        data = pair.server.take()
        longest = len(data)
        for piece in filter(None, (data[:place], data[place:])):
            assert not pair.client.eof
            pair.client.codec.receive(piece)
            pair.client.read()
        assert (pair.client.got, pair.client.eof, pair.client.error) == (b"last", True, None)
        place += 1


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_the_handshake_survives_any_delivery(certs: CertSet, version: ssl.TLSVersion, cut: Cut) -> None:
    """Also byte by byte."""
    pair = tls_pair(certs, version, cut)
    pair.client.write(b"ping")
    carry(pair.client, pair.server, cut)
    assert pair.server.got == b"ping"


def test_a_read_returns_at_most_its_limit_and_loses_nothing(any_pair: Pair) -> None:
    """What is over stays for the next read."""
    any_pair.server.write(b"0123456789")
    any_pair.client.codec.receive(any_pair.server.take())
    chunks = [read(any_pair.client.codec, limit) for limit in (1, 2, 3, 100)]
    assert chunks == [b"0", b"12", b"345", b"6789"]
    assert read(any_pair.client.codec, 100) is None


def test_one_read_joins_the_records_that_are_there(pair: Pair) -> None:
    """A wake-up should move more than the 16 KiB of a record."""
    pair.server.write(BIG[:100_000])
    pair.client.codec.receive(pair.server.take())
    assert read(pair.client.codec, 50_000) == BIG[:50_000]
    assert read(pair.client.codec, 100_000) == BIG[50_000:100_000]


def test_encode_takes_a_bounded_head_of_the_chunk(pair: Pair) -> None:
    """What waits for the network stays bounded, however large the chunk is."""
    wire_bytes, taken = pair.client.codec.encode(memoryview(BIG))
    assert taken == ENCODE_BYTES < len(BIG)
    assert len(wire_bytes) < ENCODE_BYTES * 1.01
    pair.server.codec.receive(wire_bytes)
    pair.server.read()
    assert pair.server.got == BIG[:taken]


# ---------------------------------------------------------------------------------------- clear text


def test_plain_bytes_pass_as_they_are() -> None:
    """Nothing is added; what is written is not even copied."""
    codec = PlainCodec()
    codec.receive(b"received")
    assert read(codec, 100) == b"received"
    view = memoryview(b"to be sent")
    wire_bytes, taken = codec.encode(view)
    assert (wire_bytes, taken) == (view, len(view))
    assert codec.end() == codec.answer() == b""


def test_plain_eof_comes_after_the_data_and_stays() -> None:
    """The wire's EOF is the peer's."""
    codec = PlainCodec()
    codec.receive(b"abc")
    codec.receive(b"")
    assert [read(codec, 2), read(codec, 2), read(codec, 2), read(codec, 2)] == [b"ab", b"c", b"", b""]


def test_plain_says_when_the_wire_can_be_read_past_it() -> None:
    """`clear_in`: only while it holds neither bytes nor the EOF, for those come first."""
    codec = PlainCodec()
    assert codec.clear_in
    assert codec.clear_out
    codec.receive(b"abc")
    assert not codec.clear_in
    read(codec, 3)
    assert codec.clear_in
    codec.receive(b"")
    assert not codec.clear_in


@pytest.mark.parametrize("kind", ["plain", "TLSv1_3"])
def test_a_codec_says_when_only_the_wire_has_more(certs: CertSet, kind: str) -> None:
    """`is_drained`: a read need not ask it then; the end is always to be asked for."""
    pair = Pair(Side(PlainCodec()), Side(PlainCodec())) if kind == "plain" else tls_pair(certs, ssl.TLSVersion[kind])
    codec, peer = pair.client.codec, pair.server.codec
    read(codec, 10)  # what a handshake has left, such as session tickets
    assert codec.is_drained
    wire_bytes, _ = peer.encode(memoryview(b"abc"))
    codec.receive(wire_bytes)
    assert not codec.is_drained
    assert read(codec, 2) == b"ab"
    assert not codec.is_drained
    assert read(codec, 2) == b"c"
    assert codec.is_drained
    codec.receive(peer.end() or b"")
    assert not codec.is_drained
    assert read(codec, 2) == b""


def test_what_is_received_is_copied() -> None:
    """The buffer that it came in is used again at once."""
    codec = PlainCodec()
    buffer = bytearray(b"abc")
    codec.receive(buffer)
    buffer[:] = b"xyz"
    assert read(codec, 3) == b"abc"


def test_fin_is_our_eof_in_clear_text_only(pair: Pair) -> None:
    """Under TLS close_notify is, and a FIN behind it makes servers lose data."""
    assert PlainCodec().ends_with_fin
    assert not pair.client.codec.ends_with_fin


# ----------------------------------------------------------------------------------------- half-close


@pytest.mark.parametrize("first", [0, 1], ids=["client first", "server first"])
def test_half_close_leaves_the_other_direction_whole(pair: Pair, first: int) -> None:
    """T4, T6: one side ends, the other goes on for 819,210 bytes and ends too; either may be the first."""
    one, other = pair.both[first], pair.both[1 - first]
    one.write(b"request")
    one.end()
    carry(one, other)
    assert (other.got, other.eof) == (b"request", True)
    other.write(BIG)
    carry(other, one)
    assert (one.got, one.eof) == (BIG, False)
    other.end()
    carry(other, one)
    assert (one.got, one.eof, one.error) == (BIG, True, None)
    assert (other.eof, other.error) == (True, None)


def test_both_ends_at_once(pair: Pair) -> None:
    """The two close_notifies cross on the wire, each behind data."""
    for side in pair.both:
        side.write(b"bye")
        side.end()
    carry(*pair.both)
    carry(*pair.both[::-1])
    assert [(side.got, side.eof, side.error) for side in pair.both] == [(b"bye", True, None)] * 2


def test_eof_stays(pair: Pair) -> None:
    """Every later read says it again, also once TCP has ended and after our own end."""
    pair.server.end()
    carry(*pair.both[::-1])
    assert read(pair.client.codec, 10) == b""
    pair.client.codec.receive(b"")
    assert read(pair.client.codec, 10) == b""
    pair.client.end()
    assert read(pair.client.codec, 10) == b""
    carry(*pair.both)
    assert (pair.server.eof, pair.server.error) == (True, None)


@pytest.mark.parametrize("size", [1, 100_000])
def test_end_keeps_records_that_nobody_has_read(pair: Pair, size: int) -> None:
    """OpenSSL would throw them away: they are read later, and what follows them too."""
    pair.server.write(BIG[:size])
    pair.client.codec.receive(pair.server.take())
    pair.client.end()
    carry(*pair.both)
    assert (pair.server.eof, pair.server.error) == (True, None)
    pair.server.write(BIG[size:])
    pair.server.end()
    carry(*pair.both[::-1])
    assert (pair.client.got, pair.client.eof, pair.client.error) == (BIG, True, None)


def test_end_keeps_half_a_record_that_has_come(pair: Pair) -> None:
    """The rest of it comes after our close_notify."""
    pair.server.write(b"in two halves")
    data = pair.server.take()
    pair.client.codec.receive(data[:10])
    pair.client.end()
    pair.client.codec.receive(data[10:])
    pair.client.read()
    assert (pair.client.got, pair.client.error) == (b"in two halves", None)


def test_what_end_kept_obeys_the_limit(pair: Pair) -> None:
    """As any other data."""
    pair.server.write(b"0123456789")
    pair.client.codec.receive(pair.server.take())
    pair.client.end()
    assert [read(pair.client.codec, 4) for _ in range(4)] == [b"0123", b"4567", b"89", None]


def test_end_comes_once(pair: Pair) -> None:
    """A second call adds nothing to the wire."""
    assert pair.client.codec.end()
    assert pair.client.codec.end() == b""


# ------------------------------------------------------------------------------ truncation and garbage


@pytest.mark.parametrize("ended", [False, True], ids=["open", "our side ended"])
@pytest.mark.parametrize("cut_off", [0, 5], ids=["between records", "in a record"])
def test_truncation_is_an_error_after_all_data(pair: Pair, cut_off: int, ended: bool) -> None:
    """T7, V9: a FIN without close_notify is no EOF; what came whole is delivered first."""
    pair.server.write(BIG)
    if cut_off:
        complete = len(pair.server.sent)
        pair.server.write(b"lost")
        pair.server.sent = pair.server.sent[: complete + cut_off]
    if ended:
        pair.client.end()
    pair.client.codec.receive(pair.server.take())
    pair.client.codec.receive(b"")
    pair.client.read()
    assert pair.client.got == BIG
    assert isinstance(pair.client.error, TruncatedError)
    assert pair.client.error.message == LOST
    assert "close_notify" in pair.client.error.detail
    with pytest.raises(TruncatedError):
        read(pair.client.codec, 10)


def test_truncation_that_end_finds_is_told_after_the_data(pair: Pair) -> None:
    """`end()` reads ahead; the error that it meets waits for its turn."""
    pair.server.write(b"all of it")
    pair.client.codec.receive(pair.server.take())
    pair.client.codec.receive(b"")
    pair.client.end()
    pair.client.read()
    assert pair.client.got == b"all of it"
    assert isinstance(pair.client.error, TruncatedError)


class NoRoom:
    """A buffer that cannot grow."""

    pending = 0

    def write(self, data: bytes) -> int:
        raise ssl.SSLError(1, "malloc failure")


def test_what_comes_behind_a_gap_is_left_alone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """There was no memory for a part: that is told, and not that what follows cannot be decrypted."""
    codec = pair.client.codec
    pair.server.write(b"before")
    codec.receive(pair.server.take())
    pair.server.write(b"lost")
    with monkeypatch.context() as patch:
        patch.setattr(codec, "_incoming", NoRoom())
        with pytest.raises(MemoryError):
            codec.receive(pair.server.take())
    pair.server.write(b"behind")
    codec.receive(pair.server.take())
    codec.receive(b"")
    assert codec.refusal() is None
    pair.client.read()
    assert (pair.client.got, pair.client.error) == (b"before", None)


def test_garbage_is_an_error_after_all_data(pair: Pair) -> None:
    """T8: it is no truncation, OpenSSL's reason is told, and the peer hears of it."""
    pair.server.write(b"genuine")
    pair.client.codec.receive(pair.server.take() + b"HTTP/1.1 400 Bad Request\r\n")
    pair.client.read()
    assert pair.client.got == b"genuine"
    assert isinstance(pair.client.error, TlsError)
    assert not isinstance(pair.client.error, TruncatedError)
    assert "wrong version number" in pair.client.error.message
    assert pair.client.error.reason == "WRONG_VERSION_NUMBER"
    with pytest.raises(TlsError):
        read(pair.client.codec, 10)


def test_a_changed_byte_is_an_error(pair: Pair) -> None:
    """Row 66: a record that was tampered with is not delivered, and the peer gets an alert."""
    pair.server.write(b"first")
    good = pair.server.take()
    pair.server.write(b"second")
    bad = bytearray(pair.server.take())
    bad[-1] ^= 1
    pair.client.codec.receive(good + bytes(bad))
    pair.client.read()
    assert pair.client.got == b"first"
    assert isinstance(pair.client.error, TlsError)
    assert pair.client.error.reason
    carry(*pair.both)
    assert isinstance(pair.server.error, TlsError)
    assert "alert" in pair.server.error.message


def test_data_behind_close_notify_is_not_delivered(pair: Pair) -> None:
    """SEC-R9, row 69: neither clear text nor anything else."""
    pair.server.end()
    pair.client.codec.receive(pair.server.take() + b"250 and so on in clear text\r\n")
    pair.client.read()
    assert (pair.client.got, pair.client.eof, pair.client.error) == (b"", True, None)
    assert read(pair.client.codec, 10) == b""
    assert isinstance(pair.client.codec, TlsCodec)
    assert pair.client.codec.ignored_bytes == len(b"250 and so on in clear text\r\n")


def test_what_comes_before_the_end_is_not_behind_it(pair: Pair) -> None:
    """Unread bytes are not counted as ignored."""
    pair.server.write(b"data")
    pair.client.codec.receive(pair.server.take())
    assert isinstance(pair.client.codec, TlsCodec)
    assert pair.client.codec.ignored_bytes == 0


def test_an_end_without_close_notify_may_be_accepted(certs: CertSet, version: ssl.TLSVersion) -> None:
    """Then it is an EOF, of which the peer hears nothing; our own side goes on, to an end in order."""
    context = make_tls_context(cacert=certs.ca)
    context.minimum_version = context.maximum_version = version
    client, server = TlsCodec(context, "localhost", ignore_unexpected_eof=True), server_codec(certs, version=version)
    shake_hands(client, server)
    assert client.reset_is_eof
    assert not server.reset_is_eof
    client.receive(server.encode(memoryview(b"all"))[0])
    client.receive(b"")
    assert (read(client, 10), read(client, 10), read(client, 10)) == (b"all", b"", b"")
    assert client.answer() == b""
    server.receive(bytes(client.encode(memoryview(b"more"))[0]) + client.end())
    assert (read(server, 10), read(server, 10)) == (b"more", b"")


# ------------------------------------------------------------------------------------------ handshake


def failed_handshake(client: TlsCodec, received: bytes | None, cut: Cut = whole) -> TlsError:
    """The error that the client's handshake ends with when it gets these bytes (None: the wire's EOF)."""
    assert not client.handshake()
    assert client.answer()[0] == 0x16  # the ClientHello
    try:
        for piece in (b"",) if received is None else cut(received):
            client.receive(piece)
            assert not client.handshake()
    except TlsError as error:
        return error
    pytest.fail("the handshake goes on")


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_a_peer_that_speaks_clear_text_is_quoted(certs: CertSet, cut: Cut) -> None:
    """Row 60: what it said is in the error, as bytes."""
    error = failed_handshake(client_codec(certs), b"220 mail.example ESMTP\r\n", cut)
    assert error.message == "peer does not speak TLS"
    assert b"220 mail.example ESMTP\r\n".startswith(error.said)
    assert len(error.said) >= 5  # a record's header, which OpenSSL waits for
    if cut is whole:
        assert error.said == b"220 mail.example ESMTP\r\n"


def test_no_more_than_forty_bytes_are_quoted(certs: CertSet) -> None:
    """However much it says."""
    assert failed_handshake(client_codec(certs), b"x" * 100_000).said == b"x" * 40


def test_what_begins_like_tls_is_not_quoted(certs: CertSet) -> None:
    """A server that speaks TLS is not quoted: its bytes are binary."""
    error = failed_handshake(client_codec(certs), b"\x16\x03\x03\x00\x04\x63\x00\x00\x00")
    assert error.said == b""
    assert error.message.startswith("TLS handshake failed: ")


@pytest.mark.parametrize(
    ("alert", "words", "reason"),
    [
        (b"\2\x28", "handshake failure", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (b"\2\x70", "unrecognized name", "TLSV1_UNRECOGNIZED_NAME"),
        (b"\2\x78", "no application protocol", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"),  # not in Python's list
        (b"\2\xff", "number 255", ""),  # nor in OpenSSL's
        (b"\1\0", "close notify", "EOF"),
    ],
)
def test_an_alert_is_named(certs: CertSet, alert: bytes, words: str, reason: str) -> None:
    """Row 63: an alert is named, also one that OpenSSL has no name for; an unknown one has its number."""
    error = failed_handshake(client_codec(certs), b"\x15\3\3\0\2" + alert)
    assert error.message == f"TLS handshake failed: the peer sent the alert {words}"
    assert error.reason == reason


def test_a_server_without_secure_renegotiation(certs: CertSet) -> None:
    """RFC 5746: its hello does not name it. OpenSSL refuses such a server, and the message says why."""
    hello = b"\3\3" + bytes(range(32)) + b"\0" + b"\xc0\x2f" + b"\0"  # no session, ECDHE-RSA-AES128-GCM, no extension
    handshake = b"\2" + len(hello).to_bytes(3, "big") + hello
    error = failed_handshake(client_codec(certs), b"\x16\3\3" + len(handshake).to_bytes(2, "big") + handshake)
    assert error.message == "TLS handshake failed: the server does not know secure renegotiation (RFC 5746)"
    assert explain(error, "h:443").hint.startswith("the server has to be updated; ")


def test_eof_instead_of_a_hello(certs: CertSet) -> None:
    """Row 62: the phase is named."""
    error = failed_handshake(client_codec(certs), None)
    assert error.message == "peer closed the connection during the TLS handshake"
    assert not isinstance(error, TruncatedError)


def test_eof_in_the_middle_of_the_handshake(certs: CertSet, version: ssl.TLSVersion) -> None:
    """Row 62: also after part of the server's flight."""
    client, server = client_codec(certs, version), server_codec(certs, version=version)
    assert not client.handshake()
    server.receive(client.answer())
    server.handshake()
    client.receive(server.answer()[:300])
    assert not client.handshake()
    client.receive(b"")
    with pytest.raises(TlsError, match="peer closed the connection during the TLS handshake"):
        client.handshake()


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("wrong_host", 62, "it is for other.test, not localhost"),
        ("cn_only", 62, "it names no host: there is no subject alternative name, and its subject does not count"),
        ("expired", 10, "it expired on 2020-01-02"),
        ("not_yet", 9, "it is not valid before 2040-01-01"),
        ("untrusted", 20, "it was issued by 'Testing CA #"),
        ("self_signed", 18, "it is self-signed"),
    ],
)
def test_t1_a_bad_certificate_is_refused(
    certs: CertSet, version: ssl.TLSVersion, kind: Kind, code: int, words: str
) -> None:
    """T1: each for its own reason, with OpenSSL's number; the server is told by an alert."""
    client, server = client_codec(certs, version), server_codec(certs, kind, version)
    with pytest.raises(CertificateError) as caught:
        shake_hands(client, server)
    assert caught.value.verify_code == code
    assert caught.value.message.startswith(f"certificate not trusted: {words}")
    server.receive(client.answer())
    with pytest.raises(TlsError, match="alert"):
        server.handshake()


@pytest.mark.parametrize(("name", "code"), [("127.0.0.2", 64), ("localhost.other.test", 62), ("ocalhost", 62)])
def test_t1_the_name_that_was_asked_for_is_checked(certs: CertSet, name: str, code: int) -> None:
    """T1: addresses against addresses, names against names."""
    with pytest.raises(CertificateError) as caught:
        shake_hands(client_codec(certs, name=name), server_codec(certs))
    assert caught.value.verify_code == code


@pytest.mark.parametrize(("name", "sni"), [("localhost", "localhost"), ("127.0.0.1", None), ("::1", None)])
def test_t1_t2_a_name_is_sent_as_sni_and_an_address_is_not(certs: CertSet, name: str, sni: str | None) -> None:
    """T1, T2: both are found in the certificate."""
    asked: list[str | None] = []
    context = certs.server_context()
    context.sni_callback = lambda _tls, name, _context: asked.append(name)
    shake_hands(client_codec(certs, name=name), TlsCodec(context, server_side=True))
    assert asked == [sni]


def test_versions_that_do_not_meet(certs: CertSet) -> None:
    """Rows 63, 64: the server's alert is given in words."""
    client = client_codec(certs, ssl.TLSVersion.TLSv1_3)
    server = server_codec(certs, version=ssl.TLSVersion.TLSv1_2)
    assert not client.handshake()
    server.receive(client.answer())
    with pytest.raises(TlsError, match="unsupported protocol"):
        server.handshake()
    client.receive(server.answer())
    with pytest.raises(TlsError, match=r"^TLS handshake failed: the peer sent the alert protocol version$"):
        client.handshake()


# -------------------------------------------------------------------------------------- any sequence

Who = Literal[0, 1]  # client, server


@dataclass(frozen=True)
class Write:
    who: Who
    size: int


@dataclass(frozen=True)
class End:
    who: Who


@dataclass(frozen=True)
class Deliver:
    who: Who  # whose bytes
    count: int


@dataclass(frozen=True)
class Read:
    who: Who
    limit: int


sides: st.SearchStrategy[Who] = st.sampled_from([0, 1])
actions = st.lists(
    st.builds(Write, sides, st.integers(1, 40_000))
    | st.builds(End, sides)
    | st.builds(Deliver, sides, st.integers(1, 40_000) | st.integers(1, 30))
    | st.builds(Read, sides, st.integers(1, 20_000)),
    max_size=30,
)


@pytest.mark.parametrize("kind", ["plain", "TLSv1.2", "TLSv1.3"])
@settings(max_examples=60, deadline=None)
@given(actions=actions)
def test_any_sequence_gives_the_same_bytes(certs: CertSet, kind: str, actions: list[object]) -> None:
    """Writes, ends and reads on both sides in any order, over a wire that cuts as it likes."""
    tls = kind != "plain"
    pair = (
        tls_pair(certs, ssl.TLSVersion[kind.replace(".", "_")]) if tls else Pair(Side(PlainCodec()), Side(PlainCodec()))
    )
    written = [b"", b""]
    ended = [False, False]
    for action in actions:
        match action:
            case Write(who, size) if not ended[who]:
                data = BIG[len(written[who]) % 251 :][:size]
                written[who] += data
                pair.both[who].write(data)
            case End(who):
                ended[who] = True
                pair.both[who].end()
            case Deliver(who, count):
                source, target = pair.both[who], pair.both[1 - who]
                piece, source.sent = source.sent[:count], source.sent[count:]
                if piece:
                    target.codec.receive(piece)
            case Read(who, limit):
                pair.both[who].read(limit)
            case _:
                pass  # a write after the end: `writable` refuses it, the codec never sees it
    for source, target in (pair.both, pair.both[::-1]) * 2:  # twice: reading may give rise to an answer
        carry(source, target)
    for who, reader in ((0, pair.server), (1, pair.client)):
        if ended[who] and not tls:
            reader.codec.receive(b"")  # the FIN, which is not the codec's business
        reader.read()
        assert (reader.got, reader.eof, reader.error) == (written[who], ended[who], None)
