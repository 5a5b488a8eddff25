"""Scripted TCP peers: real sockets on loopback, played by threads, recording what they saw.

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\\r\\n")
        assert conn.recv_until(b"\\n") == b"QUIT\\r\\n"
        conn.end()

    with serve(script) as server:
        ...  # connect to server.port
    assert server.received == b"QUIT\\r\\n"

Each connection is accepted at once and runs the script in a thread of its own. What a script raises fails
the test when the `with` block is left; so does a client that has not closed its connection by then. While
the block runs, wait for a fact (`server.saw_eof.wait(5)`) before looking at what was received; after the
block everything is there. Every call has a deadline, `timeout_s` after the connection was accepted.

When a script returns, the connection ends in order: close_notify under TLS, FIN, then whatever the client
still sends is received (and recorded) until it ends too. A script that wants another end says so with
`end()`, `close()` or `reset()`.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

__all__ = ["End", "Peer", "Script", "Server", "blackhole", "refusing", "serve", "serving"]

End = Literal["eof", "reset", "close_notify", "tls_error"]
Script = Callable[["Peer"], object]  # what it returns is ignored

_CHUNK = 1 << 16
# What is left to do when the test is over: the client's last bytes are on their way, on loopback.
_GRACE_S = 5.0


class _Cut(Exception):
    """The test is over: the connection was taken away from a script that was still busy with it."""


class Peer:
    """One accepted connection, as its script sees it.

    `ended` is how the client's data ended: "eof" (a FIN; under TLS one without close_notify, which is
    truncation), "close_notify", "reset" or "tls_error" (then `tls_error` has the reason). None while it
    has not. `saw_eof` is set by "eof" and "close_notify", `saw_end` by every end, `saw_fin` by a FIN even
    if close_notify came first.
    """

    def __init__(
        self, sock: socket.socket, address: tuple[str, int], timeout_s: float, released: threading.Event
    ) -> None:
        self.address = address  # the client's
        self.ended: End | None = None
        self.tls_error: ssl.SSLError | None = None
        self.sni: str | None = None
        self.sent = 0  # bytes taken by the kernel; grows while send() and fill() are at work
        self.saw_eof = threading.Event()
        self.saw_end = threading.Event()
        self.saw_fin = threading.Event()
        self._sock = sock
        self._deadline = time.monotonic() + timeout_s
        self._released = released
        self._received = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ahead = bytearray()  # decrypted by close_notify(), not yet asked for
        self._unsent = b""  # the rest of what fill() began to send: a TLS record must not be left in pieces
        self._said_goodbye = False
        self._cut = False

    @property
    def received(self) -> bytes:
        """All data that the client sent so far; under TLS what it sent before and inside."""
        return bytes(self._received)

    @property
    def tls_version(self) -> str | None:
        """The version negotiated, "TLSv1.3" or so; None in clear text."""
        return self._tls.version() if self._tls else None

    def alpn(self) -> str | None:
        """The ALPN protocol that was agreed on."""
        return self._tls.selected_alpn_protocol() if self._tls else None

    def peer_certificate(self) -> dict[str, Any]:
        """The client's certificate as `ssl` decodes it; empty where it showed none."""
        return dict((self._tls.getpeercert() if self._tls else None) or {})

    # ------------------------------------------------------------------ receiving

    def recv(self, limit: int = _CHUNK) -> bytes:
        """Return the next 1 to `limit` bytes, or b"" once the client's data has ended, in any way."""
        data = self._take_ahead(limit) or (self._recv_tls(limit) if self._tls else self._recv_plain(limit))
        self._received += data
        return data

    def recv_exactly(self, count: int) -> bytes:
        """Return exactly `count` bytes, leaving what follows unread; fail if the data ends before."""
        data = bytearray()
        while len(data) < count:
            chunk = self.recv(count - len(data))
            assert chunk, f"{self.ended} after {len(data)} of {count} bytes: {bytes(data[-200:])!r}"
            data += chunk
        return bytes(data)

    def recv_until(self, mark: bytes) -> bytes:
        """Return everything up to and including `mark`, leaving what follows unread."""
        data = bytearray()
        while not data.endswith(mark):
            data += self.recv_exactly(1)
        return bytes(data)

    def recv_until_eof(self) -> bytes:
        """Return everything up to the end; `ended` tells which end it was."""
        data = bytearray()
        while chunk := self.recv():
            data += chunk
        return bytes(data)

    def forget(self) -> None:
        """Let `received` begin anew: what came so far was a dialog that the test is not about."""
        self._received.clear()

    def quiet(self, seconds: float) -> bool:
        """Say whether nothing at all arrives on the wire for `seconds`: no byte, no FIN, no reset."""
        return not select.select([self._sock], [], [], seconds)[0]

    # -------------------------------------------------------------------- sending

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises OSError when the client is gone."""
        if self._tls is None:
            self._send_wire(data)
            return
        for start in range(0, len(data), _CHUNK):
            self._tls.write(data[start : start + _CHUNK])
            self._flush()

    def record(self, data: bytes) -> bytes:
        """The wire bytes for `data`, for send_raw(): itself, or the TLS record that it makes."""
        if self._tls is None:
            return data
        self._tls.write(data)
        return self._outgoing.read()

    def send_raw(self, data: bytes) -> None:
        """Put `data` on the wire as it is, under TLS too."""
        self._send_wire(data)

    def send_urgent(self, byte: bytes) -> None:
        """Send a byte out of band."""
        self._sock.send(byte, socket.MSG_OOB)

    def fill(self, stall_s: float = 0.3) -> int:
        """Send zero bytes until the client has taken none for `stall_s`; return how many bytes went out.

        What a client that applies backpressure does not take stays in the kernel's buffers, which are
        bounded. Raises TimeoutError if it goes on taking until the deadline.
        """
        before = self.sent
        self._sock.setblocking(False)
        while select.select([], [self._sock], [], stall_s)[1]:
            self._remaining()
            self._unsent = self._unsent or self.record(bytes(_CHUNK))
            count = self._sock.send(self._unsent)
            self.sent += count
            self._unsent = self._unsent[count:]
        return self.sent - before

    # ------------------------------------------------------------------------ TLS

    def start_tls(self, context: ssl.SSLContext, *, may_fail: bool = False) -> bool:
        """Act as a TLS server from here on; return True once the handshake is done.

        A failed handshake raises, or, where the test is about that, returns False and is recorded in
        `ended` and `tls_error`. `sni` is the name that the client asked for.
        """
        self._tls = self._wrap(context)
        try:
            self._shake_hands(self._tls)
        except (ssl.SSLError, OSError) as error:
            if isinstance(error, TimeoutError) or not may_fail:
                raise
            if isinstance(error, ssl.SSLError):
                self.tls_error = error
            self._note_end("tls_error" if isinstance(error, ssl.SSLError) else "reset")
            return False
        finally:
            self.sni = getattr(self._tls, "cfcat_sni", None)
        return True

    def close_notify(self) -> None:
        """End our data under TLS in order, and go on receiving; TCP stays open both ways."""
        assert self._tls is not None
        if self._said_goodbye:
            return
        # With a data record left in the incoming BIO unwrap() fails and the data is lost: take it out first.
        while self.ended is None:
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self._note_end("close_notify")
            self._ahead += data
        with suppress(ssl.SSLError):  # close_notify is written first; then it looks for the client's, in vain
            self._tls.unwrap()
        self._said_goodbye = True
        self._flush()

    # ----------------------------------------------------------------------- ends

    def end(self) -> None:
        """Send a FIN and go on receiving. Under TLS that is truncation, unless close_notify() came first."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection at once, under TLS after close_notify.

        The kernel resets the connection instead where the client has sent bytes that were not received.
        """
        if self._can_say_goodbye():
            self.close_notify()
        self._sock.close()

    def reset(self) -> None:
        """Close the connection with a RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def hang(self) -> None:
        """Do nothing until the test releases the server or leaves its `with` block."""
        self.wait(self._released)

    def wait(self, event: threading.Event) -> None:
        """Wait for a fact that the test (or another script) sets."""
        if not event.wait(self._remaining()):
            raise TimeoutError("the event that the script waited for was not set")

    # -------------------------------------------------------------- the server's side

    def run(self, script: Script) -> None:
        """Run the script, then end the connection in order."""
        try:
            script(self)
        except BaseException:
            if self._sock.fileno() >= 0:
                self.reset()  # whoever waits for the other end shall not wait for the deadline
            raise
        if self._sock.fileno() < 0:
            return
        with self._sock:
            with suppress(OSError):
                if self._can_say_goodbye():
                    self.close_notify()
            with suppress(OSError):
                self.end()
            while self.recv():
                pass
            while not self.saw_fin.is_set() and self.ended != "reset" and self._recv_wire(_CHUNK):
                pass  # what is behind close_notify: closing on unread bytes would send a RST

    def cut(self) -> None:
        """Take the connection away from the script, from another thread."""
        self._cut = True
        self._released.set()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    # --------------------------------------------------------------------- the wire

    def _wrap(self, context: ssl.SSLContext) -> ssl.SSLObject:
        context.sni_callback = _note_sni
        return context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def _can_say_goodbye(self) -> bool:
        return self._tls is not None and self.ended not in ("reset", "tls_error")

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the connection's deadline has passed")
        return remaining

    def _send_wire(self, data: bytes) -> None:
        view = memoryview(self._unsent + data)
        self._unsent = b""
        while view:
            self._sock.settimeout(self._remaining())
            count = self._sock.send(view)
            self.sent += count
            view = view[count:]

    def _recv_wire(self, limit: int) -> bytes:
        """Return what the socket has; b"" at a FIN, and at a reset, which is noted as the end."""
        self._sock.settimeout(self._remaining())
        try:
            data = self._sock.recv(limit)
        except ConnectionResetError:
            self._note_end("reset")
            return b""
        if self._cut:
            raise _Cut
        if not data:
            self.saw_fin.set()
        return data

    def _recv_plain(self, limit: int) -> bytes:
        data = b"" if self.ended else self._recv_wire(limit)
        if not data:
            self._note_end("eof")
        return data

    def _recv_tls(self, limit: int) -> bytes:
        assert self._tls is not None
        while self.ended is None:
            try:
                if data := self._tls.read(limit):
                    return data
                self._note_end("close_notify")
            except ssl.SSLWantReadError:
                self._feed()
            except ssl.SSLZeroReturnError:  # how close_notify shows once we have sent ours
                self._note_end("close_notify")
            except ssl.SSLError as error:
                # Python before 3.11.4 has no SSLEOFError for it, only the reason.
                if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
                    self._note_end("eof")
                else:
                    self.tls_error = error
                    self._note_end("tls_error")
            with suppress(OSError):  # alerts and answers to KeyUpdate; the client may be gone
                self._flush()
        return b""

    def _take_ahead(self, limit: int) -> bytes:
        data = bytes(self._ahead[:limit])
        del self._ahead[:limit]
        return data

    def _feed(self) -> None:
        if data := self._recv_wire(_CHUNK):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        self._send_wire(self._outgoing.read())

    def _shake_hands(self, tls: ssl.SSLObject) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
                if self.ended == "reset":
                    raise ConnectionResetError("reset during the handshake") from None
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # the alert
                raise
            else:
                try:
                    self._flush()  # session tickets; the client may be gone already
                except (ConnectionResetError, BrokenPipeError):
                    self._note_end("reset")
                return

    def _note_end(self, end: End) -> None:
        if self.ended is None:
            self.ended = end
            if end in ("eof", "close_notify"):
                self.saw_eof.set()
            self.saw_end.set()


class Server:
    """A listener whose connections all run the same script.

    `received`, `ended`, `saw_eof`, `saw_end` and `saw_fin` are those of the first connection; `peers`
    has all of them in the order in which they were accepted.
    """

    def __init__(self, script: Script, host: str, port: int, timeout_s: float) -> None:
        self._listener = self._listen(host, port)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.peers: list[Peer] = []
        self.accepted = threading.Event()
        self.released = threading.Event()
        self.saw_eof = threading.Event()
        self.saw_end = threading.Event()
        self.saw_fin = threading.Event()
        self._script = script
        self._timeout_s = timeout_s
        self._threads: list[threading.Thread] = []
        self._errors: dict[int, BaseException] = {}
        self._stop_here, self._stop_there = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name=f"accept:{self.port}", daemon=True)
        self._acceptor.start()

    @property
    def address(self) -> str:
        """What a user would type: 127.0.0.1:port or [::1]:port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """What cfcat's messages call the peer."""
        return self.address

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return len(self.peers)

    @property
    def received(self) -> bytes:
        """What the first connection's client sent so far; b"" when nobody connected."""
        return self.peers[0].received if self.peers else b""

    @property
    def ended(self) -> End | None:
        """How the first connection's data ended; None while it has not, and when nobody connected."""
        return self.peers[0].ended if self.peers else None

    def narrow(self) -> None:
        """Give connections from now on the smallest receive buffer, and so the smallest window, that there is."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    def release(self) -> None:
        """Let every script that hangs go on."""
        self.released.set()

    def stop(self, grace_s: float) -> list[str]:
        """Stop accepting, wait for every script and client to end, and return what went wrong.

        What is not finished after `grace_s` is cut off, which counts as wrong.
        """
        self._stop_here.close()
        self._acceptor.join()
        self.released.set()
        until = time.monotonic() + grace_s
        complaints = []
        for number, (peer, thread) in enumerate(zip(self.peers, self._threads, strict=True), start=1):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                peer.cut()
                thread.join(_GRACE_S)
                complaints.append(f"connection {number}: script not finished or connection not closed")
            elif (error := self._errors.get(number)) is not None:
                complaints.append(f"connection {number}: {error!r}, having received {peer.received[-200:]!r}")
        return complaints

    def first_error(self) -> BaseException | None:
        """Return the exception of the first script that raised one."""
        return next(iter(self._errors.values()), None)

    def _accept(self) -> None:
        with self._listener, self._stop_there:
            self._listener.setblocking(False)
            stopping = False
            while not stopping:
                ready = select.select([self._listener, self._stop_there], [], [])[0]
                stopping = self._stop_there in ready
                with suppress(BlockingIOError):  # those that came before the stop are served
                    while True:
                        self._start(*self._listener.accept())

    def _start(self, sock: socket.socket, address: tuple[str, int]) -> None:
        # What is sent must be on its way before a reset, which discards what Nagle's algorithm still holds back.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = self._make_peer(sock, address[:2])
        if not self.peers:
            peer.saw_eof, peer.saw_end, peer.saw_fin = self.saw_eof, self.saw_end, self.saw_fin
        self.peers.append(peer)
        number = len(self.peers)
        thread = threading.Thread(target=self._play, args=(number, peer), name=f"peer {number}", daemon=True)
        self._threads.append(thread)
        thread.start()
        self.accepted.set()

    def _listen(self, host: str, port: int) -> socket.socket:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    def _make_peer(self, sock: socket.socket, address: tuple[str, int]) -> Peer:
        return Peer(sock, address, self._timeout_s, self.released)

    def _play(self, number: int, peer: Peer) -> None:
        try:
            peer.run(self._script)
        except _Cut:
            pass
        except BaseException as error:  # a script's pytest.fail() is no Exception
            self._errors[number] = error


@contextmanager
def serve(script: Script, *, host: str = "127.0.0.1", port: int = 0, timeout_s: float = 10) -> Iterator[Server]:
    """Serve `script` on a free port of `host`, or that one, while the block runs; fail if anything was left undone."""
    with serving(Server(script, host, port, timeout_s)) as server:
        yield server


AnyServer = TypeVar("AnyServer", bound=Server)


@contextmanager
def serving(server: AnyServer) -> Iterator[AnyServer]:
    """Let it serve while the block runs, and raise then what went wrong."""
    try:
        yield server
    except BaseException as error:
        for complaint in server.stop(grace_s=0):
            error.add_note(complaint)
        raise
    complaints = server.stop(_GRACE_S)
    if complaints:
        raise AssertionError("\n".join(complaints)) from server.first_error()


@contextmanager
def refusing(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port on which connections are refused, and which nobody else can take meanwhile."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        bound.bind((host, 0))
        yield bound.getsockname()[1]


@contextmanager
def blackhole(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port on which a connection attempt is never answered: the accept queue is full (Linux)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family, backlog=0) as listener,
        socket.create_connection(listener.getsockname()[:2], timeout=5),
    ):
        yield listener.getsockname()[1]


def _note_sni(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    # On the object, not in a closure: connections of several threads may share the context.
    tls.cfcat_sni = name  # type: ignore[attr-defined]
