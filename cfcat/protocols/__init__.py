"""The protocols: how each comes from clear text to TLS, what is typed in it by hand, and which lines are secrets.

A dialog is what goes over the wire before the ClientHello, for --starttls and :starttls: a generator without I/O.
What a server says there is not kept: not its capabilities, not its names (SEC-R2). `table` has a row for each
protocol; `dialog_run` runs a dialog on bytes, `upgrade` on a socket.
"""

from __future__ import annotations

from cfcat.protocols.dialog import Dialog, Names
from cfcat.protocols.dialog_run import DialogRun
from cfcat.protocols.row import Protocol
from cfcat.protocols.table import PROFILES, PROTOCOLS, TABLE, profile_for
from cfcat.protocols.wrapper import HandshakeWrapper

__all__ = [
    "PROFILES",
    "PROTOCOLS",
    "TABLE",
    "Dialog",
    "DialogRun",
    "HandshakeWrapper",
    "Names",
    "Protocol",
    "profile_for",
]
