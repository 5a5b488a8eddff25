"""`python -m tests.bench --only relays`: the tap beside socat as a relay, in clear text and with TLS on both sides.

A client sends to a server through the relay, or the server to the client; both are socat, the same for all. Processor
time is that of the relay alone. What counts is the cost of so much more than 1 MiB: without the start.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench.server import MIB

__all__ = ["beside_relays"]

DEADLINE_S = 120
BLOCK = str(256 * 1024)


class Relayed(NamedTuple):
    """What one run cost, in seconds and seconds of processor; `moved`: bytes that came out."""

    wall: float
    cpu: float
    moved: int


def beside_relays(mib: int, runs: int, ca: Path, certificate: Path) -> bool:
    """Print each relay's median, and ours against the best; False where a byte was lost or added."""
    if shutil.which("socat") is None:
        print("relays: socat is not installed")
        return True
    good = True
    for tls in (False, True):
        for down in (False, True):
            costs: dict[str, list[Relayed]] = {}
            for _ in range(runs):
                for name in ("cfcat --tap", "socat", f"socat -b {BLOCK}"):
                    little, much = (_run(name, size, ca, certificate, tls=tls, down=down) for size in (1, mib + 1))
                    cost = Relayed(much.wall - little.wall, much.cpu - little.cpu, much.moved - little.moved)
                    costs.setdefault(name, []).append(cost)
            good &= all(cost.moved == mib * MIB for cost in costs["cfcat --tap"])
            _print(f"relay {'tls' if tls else 'plain'} {'down' if down else 'up'}", costs)
    return good


def _print(title: str, costs: dict[str, list[Relayed]]) -> None:
    print(title)
    figures = {name: [median(figure) for figure in zip(*each, strict=True)] for name, each in costs.items()}
    for name, (wall, cpu, _) in figures.items():
        print(f"  {name:18} wall {wall:6.2f} s  cpu {cpu:6.2f} s")
    ours, peers = figures["cfcat --tap"], [figures[name] for name in figures if name != "cfcat --tap"]
    print(f"  of the best: wall {ours[0] / min(p[0] for p in peers):.2f}, cpu {ours[1] / min(p[1] for p in peers):.2f}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _run(name: str, mib: int, ca: Path, certificate: Path, *, tls: bool, down: bool) -> Relayed:
    at, behind = _free_port(), _free_port()
    listening = f"OPENSSL-LISTEN:{behind},cert={certificate},verify=0" if tls else f"TCP-LISTEN:{behind}"
    feed = f"head -c {mib}M /dev/zero | socat -u -b {BLOCK} - "
    server = f"{feed}{listening},reuseaddr" if down else f"socat -u -b {BLOCK} {listening},reuseaddr - | wc -c"
    target = f"OPENSSL:localhost:{at},verify=0" if tls else f"TCP:127.0.0.1:{at}"
    client = f"socat -u -b {BLOCK} {target} - | wc -c" if down else f"{feed}{target}"
    serving = subprocess.Popen(server, shell=True, stdout=subprocess.PIPE)
    relay = subprocess.Popen(_command(name, at, behind, ca, certificate, tls=tls), stderr=subprocess.DEVNULL)
    _until_listening(at)
    _until_listening(behind)
    began_s = time.monotonic()
    asking = subprocess.run(client, shell=True, stdout=subprocess.PIPE, timeout=DEADLINE_S, check=False)
    said, _ = serving.communicate(timeout=DEADLINE_S)
    wall_s = time.monotonic() - began_s
    _, _, usage = os.wait4(relay.pid, 0)
    relay.returncode = 0
    return Relayed(wall_s, usage.ru_utime + usage.ru_stime, int((asking.stdout if down else said) or 0))


def _command(name: str, at: int, behind: int, ca: Path, certificate: Path, *, tls: bool) -> list[str]:
    if name == "cfcat --tap":
        program = str(Path(sys.executable).with_name("cfcat"))
        accept = [] if tls else ["--accept-tls", "off"]
        return [
            *(program, "--tap", str(at), "--once", "--quiet", "--ignore-unexpected-eof", *accept),
            *(
                "--ca-out",
                str(ca.with_name("tap-ca.pem")),
                *(["--cacert", str(ca)] if tls else []),
                f"localhost:{behind}",
            ),
        ]
    block = ["-b", BLOCK] if "-b" in name else []
    if tls:
        accepting, dialing = (
            f"OPENSSL-LISTEN:{at},cert={certificate},verify=0",
            f"OPENSSL:localhost:{behind},cafile={ca}",
        )
    else:
        accepting, dialing = f"TCP-LISTEN:{at}", f"TCP:127.0.0.1:{behind}"
    return ["socat", *block, f"{accepting},reuseaddr", dialing]


def _until_listening(port: int) -> None:
    """Ask the kernel: a connection would be taken for the client."""
    end_s = time.monotonic() + 10
    wanted = f":{port:04X} "
    while not any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()):
        if time.monotonic() > end_s:
            raise TimeoutError(f"nobody listens on {port}")
        time.sleep(0.01)
