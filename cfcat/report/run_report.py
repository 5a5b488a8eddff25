"""The facts of one run, as they come in; `--json` is all of them as one object.

`report.schema.json` describes the object. Times are seconds; what did not happen, or is not known, is null.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from cfcat.core.certificate import PeerCertificate, TlsInfo
from cfcat.errors import CertificateError, EarlyEndError, IdleTimeout, LostError, TruncatedError, UnansweredError
from cfcat.record.events import (
    Accepted,
    Broke,
    Connecting,
    Direction,
    LineFailed,
    Listening,
    OurSideEnded,
    PeerEnded,
    Phase,
    StdinEnded,
)
from cfcat.record.kept import Event
from cfcat.record.making import Attempted, Connected, Proxied, Resolved, TlsEstablished
from cfcat.record.sides import ClientCame, ClientTls, SideEnded
from cfcat.report.facts import days_left
from cfcat.report.messages import Message

__all__ = ["RunReport"]

# A run that failed in one of these had no session: there is nothing that could have ended.
BEFORE_SESSION: frozenset[Phase] = frozenset({"usage", "resolve", "connect", "starttls", "tls"})
# How a session with this error ended; the first match counts.
ENDS: tuple[tuple[type[BaseException], str], ...] = (
    (TruncatedError, "truncated"),
    (EarlyEndError, "peer ended"),
    (LostError, "reset"),
    (IdleTimeout, "idle"),
    (UnansweredError, "peer ended"),
    (BrokenPipeError, "stdout closed"),
)

# What a run that we ended is called, by its mode.
OUR_ENDS = {"repl": "quit", "check": "checked", "tap": "quit"}


@dataclasses.dataclass(slots=True)
class RunReport:
    """What has happened so far. `handshake_next`: TLS begins with the first byte.

    `connection`: its number in the tap; then "sent" is what the client has, and the last fields are about the client.
    """

    target: str
    mode: str = "pipe"
    handshake_next: bool = False
    phase: Phase = "usage"
    attempts: list[Attempted] = dataclasses.field(default_factory=list)
    proxy: str | None = None  # its URL
    proxied: Proxied | None = None
    connected: Connected | None = None
    tls: TlsInfo | None = None
    dns_s: float | None = None
    starttls_s: float | None = None
    tls_s: float | None = None
    first_byte_s: float | None = None
    total_s: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    last_end: Direction | None = None  # the direction that ended last
    error: BaseException | None = None
    status: int = 0
    message: Message | None = None
    notes: list[str] = dataclasses.field(default_factory=list)  # warnings, and what else was said
    connection: int | None = None
    client: ClientCame | None = None
    client_tls: ClientTls | None = None
    side_ends: list[SideEnded] = dataclasses.field(default_factory=list)

    def take(self, event: Event) -> None:
        """Note what has happened; what a socket tells decides which phase comes next."""
        if isinstance(event, Connecting):
            self.proxy, self.proxied, self.dns_s = event.proxy, None, None
            self.tls = self.tls_s = None  # that was another connection's
        elif isinstance(event, Resolved):
            self.dns_s = event.seconds + (self.dns_s or 0)  # of the proxy's name, and then of the target's
            self.phase = "connect"
        elif isinstance(event, Proxied):
            self.proxied = event
        elif isinstance(event, Attempted):
            self.attempts.append(event)
        elif isinstance(event, Connected):
            self.connected = event
            self.phase = "tls" if self.handshake_next else "session"
        elif isinstance(event, Listening):
            self.phase = "connect"
        elif isinstance(event, Accepted):
            self.connected = Connected(event.remote_address, event.local_address, 0.0)
            self.phase = "tls" if self.handshake_next else "session"
        elif isinstance(event, ClientCame):
            self.client = event
        elif isinstance(event, ClientTls):
            self.client_tls = event
        elif isinstance(event, SideEnded):
            self.side_ends.append(event)
        elif isinstance(event, TlsEstablished):
            self.tls = event.info
            self.tls_s = event.seconds
            self.phase = "session"
        elif isinstance(event, StdinEnded) and not event.is_held:
            self.last_end = "sent"
        elif isinstance(event, OurSideEnded) and self.mode == "pipe":  # in a session a user's own end is never an error
            self.last_end = "sent"
        elif isinstance(event, PeerEnded):
            self.last_end = "received"
        elif isinstance(event, (Broke, LineFailed)):
            self.error, self.message = event.error, Message(event.message, event.hint)

    @property
    def end(self) -> str | None:
        """How the session ended; None where there was none."""
        if self.phase in BEFORE_SESSION and (self.error is not None or self.status):
            return None
        if self.error is None:
            if self.side_ends:
                return f"{self.side_ends[0].side} ended"
            return "peer ended" if self.last_end == "received" else OUR_ENDS.get(self.mode, "stdin ended")
        return next((end for kind, end in ENDS if isinstance(self.error, kind)), "failed")

    def as_json(self) -> str:
        """The whole report as one line. Characters that could do harm on a terminal are escaped: it is ASCII."""
        connected, proxied = self.connected, self.proxied
        before_s = None if self.dns_s is None else self.dns_s + (0 if proxied is None else proxied.seconds)
        times = {
            "dns": self.dns_s,
            "connect": None if connected is None or before_s is None else max(0, connected.seconds - before_s),
            "proxy": None if proxied is None else proxied.seconds,
            "starttls": self.starttls_s,
            "tls": self.tls_s,
            "first_byte": self.first_byte_s,
            "total": self.total_s,
        }
        report = {
            "target": self.target,
            "mode": self.mode,
            "addresses": list(map(_attempt, self.attempts)),
            "remote_address": None if connected is None else connected.remote_address or None,
            "local_address": None if connected is None else connected.local_address or None,
            "proxy": None if self.proxy is None else _proxy(self.proxy, proxied),
            "times": {name: _rounded(seconds) for name, seconds in times.items()},
            "tls": None if self.tls is None else _tls(self.tls, time.time()),
            "untrusted_chain": self._untrusted_chain(time.time()),
            "bytes": {"sent": self.sent_bytes, "received": self.received_bytes},
            "end": self.end,
            "status": self.status,
            "phase": "done" if self.status == 0 else self.phase,
            "message": None if self.message is None else self.message.text,
            "hint": None if self.message is None else self.message.hint or None,
            "notes": self.notes,
        }
        if self.connection is not None:
            report |= {"connection": self.connection, "client": self._client(), "ends": self._ends()}
        return json.dumps(report)

    def _untrusted_chain(self, now_s: float) -> list[dict[str, Any]] | None:
        """The certificates for which the run failed; None where it did not fail for any."""
        if not isinstance(self.error, CertificateError) or not self.error.chain:
            return None
        return [_certificate(certificate, now_s) for certificate in self.error.chain]

    def _client(self) -> dict[str, Any]:
        tls = self.client_tls
        return {
            "address": None if self.client is None else self.client.remote_address or None,
            "tls": None
            if tls is None
            else {
                "version": tls.version,
                "cipher": tls.cipher,
                "alpn": tls.alpn or None,
                "server_name": tls.server_name or None,
            },
        }

    def _ends(self) -> list[dict[str, Any]]:
        return [{"side": end.side, "how": end.how, "detail": end.detail or None} for end in self.side_ends]


def _proxy(url: str, proxied: Proxied | None) -> dict[str, Any]:
    return {
        "url": url,
        "tls": None if proxied is None else proxied.tls or None,
        "bound_address": None if proxied is None else proxied.bound or None,
    }


def _attempt(attempt: Attempted) -> dict[str, Any]:
    return {
        "address": attempt.address,
        "outcome": attempt.outcome,
        "error": attempt.reason or None,
        "seconds": _rounded(attempt.seconds),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _tls(info: TlsInfo, now_s: float) -> dict[str, Any]:
    chain = [_certificate(certificate, now_s) for certificate in info.chain]
    return {
        "version": info.version,
        "cipher": info.cipher,
        "alpn": info.alpn,
        "server_name": info.server_name,
        "verified": info.verified,
        "certificate": chain[0] if chain else None,
        "chain": chain,
    }


def _certificate(certificate: PeerCertificate, now_s: float) -> dict[str, Any]:
    fields = dataclasses.asdict(certificate)
    return {**fields, "names": list(certificate.names), "days_left": days_left(certificate, now_s)}
