"""What takes long: 10 GiB each way with a checksum and in little memory, and doing next to nothing for next to nothing.

soak   COUNT bytes there and back, CRC compared, in clear text and under TLS; peak memory beside that of 1 MiB
idle   single bytes in their own segments and records: how much of a processor that takes
"""

from __future__ import annotations

import os
import subprocess
import time
import zlib
from itertools import product
from pathlib import Path

from tests.bench.contenders import CFCAT, commands, listeners
from tests.bench.measure import Background, Cost, Drain, Server, free_port, reap, timed
from tests.bench.server import BLOCK, DRIP_S, MIB, crc_of

__all__ = ["idle", "soak"]

FLAT_MIB = 8.0  # a few chunks may be on their way; how many there are in all must not matter
MOST_MIB = 40.0
MOST_SHARE = 0.05
DRIPS = 500


def soak(gib: int, ca: Path, certificate: Path) -> bool:
    """Move `gib` GiB each way, dialing and accepting; True when every byte was in its place and memory was flat."""
    good = True
    for accepts, tls, down in product((False, True), repeat=3):
        what = f"{'-l ' if accepts else ''}{'down' if down else 'up'} {'tls' if tls else 'plain'}"
        costs = []
        for count in (MIB, gib << 30):
            theirs = None if not tls else ca if accepts else certificate
            role = "source" if down else "checksum"
            with Server(role, count, theirs, free_port() if accepts else None) as server:
                if accepts:
                    tools, _ = listeners(server.port, certificate, tls=tls, down=down)
                else:
                    tools, _ = commands(server.port, ca, tls=tls, down=down)
                cost = _down(tools[CFCAT], count) if down else _up(tools[CFCAT], count)
            if cost is None or cost.status:
                print(f"soak {what}: WRONG at {count} bytes: {cost}")
                return False
            costs.append(cost)
        small, large = costs
        flat = large.peak - small.peak < FLAT_MIB and large.peak < MOST_MIB
        good = good and flat
        print(
            f"soak {what:<14} {gib} GiB in {large.wall:.1f} s, cpu {large.cpu:.1f} s,"
            f" peak {large.peak:.1f} MiB (1 MiB: {small.peak:.1f}){'' if flat else '  NOT FLAT'}",
            flush=True,
        )
    return good


def _up(command: list[str], count: int) -> Cost | None:
    read, write = os.pipe()

    def feed() -> None:
        left, view = count, memoryview(BLOCK)
        while left:
            offset = (count - left) % MIB
            left -= os.write(write, view[offset : offset + left])
        os.close(write)

    os.set_inheritable(write, False)
    drain = Drain()
    feeding = Background(feed)
    cost = timed(command, read, drain.fd)
    os.close(read)
    feeding.join()
    drain.finish()
    return cost if drain.tail == b"%d %08x\n" % (count, crc_of(count)) else None


def _down(command: list[str], count: int) -> Cost | None:
    crc = 0

    def see(chunk: memoryview) -> None:
        nonlocal crc
        crc = zlib.crc32(chunk, crc)

    drain = Drain(see)
    cost = timed([*command, "--no-shutdown"], subprocess.DEVNULL, drain.fd)
    drain.finish()
    return cost if (drain.count, crc) == (count, crc_of(count)) else None


def idle(ca: Path, certificate: Path) -> bool:
    """Receive single bytes; True when the share of a processor is small."""
    good = True
    for tls in (False, True):
        with Server("drip", DRIPS, certificate if tls else None) as server:
            tools, _ = commands(server.port, ca, tls=tls, down=False)
            drain = Drain()
            process = subprocess.Popen(
                [*tools[CFCAT], "--no-shutdown"], stdin=subprocess.DEVNULL, stdout=drain.fd, stderr=subprocess.DEVNULL
            )
            while not drain.count:  # connected; what start-up took is no matter here
                time.sleep(DRIP_S)
            began, used = time.monotonic(), _cpu_s(process.pid)
            while drain.count < DRIPS * 0.9 and process.poll() is None:
                time.sleep(DRIP_S)
            share = (_cpu_s(process.pid) - used) / (time.monotonic() - began)
            reap(process, time.perf_counter())
            drain.finish()
        good = good and share < MOST_SHARE and drain.count == DRIPS
        print(
            f"idle {'tls' if tls else 'plain':<6} {1 / DRIP_S:.0f} bytes a second: {share:.1%} of a processor",
            flush=True,
        )
    return good


def _cpu_s(pid: int) -> float:
    """Seconds of processor time of a process (Linux, in clock ticks)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
