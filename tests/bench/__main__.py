"""`python -m tests.bench`: cfcat beside nc, ncat, socat and s_client, on loopback.

Ratios count, seconds do not: machines differ and are noisy. Every byte count is checked at the far end. Tools that are
not installed are left out and named; Debian has them as netcat-openbsd, ncat, socat and openssl.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import trustme

from tests.bench.relays import beside_relays
from tests.bench.scenarios import SCENARIOS, measure
from tests.bench.soak import idle, soak
from tests.bench.streams import beside_asyncio
from tests.bench.table import as_data, markdown, text

LONG = ("soak", "idle", "library", "relays")


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 when a byte was lost or added, or when `soak` or `idle` took more than they may."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default=",".join(SCENARIOS), help=f"of {','.join((*SCENARIOS, *LONG))}")
    parser.add_argument("--mib", type=int, default=1024, help="size of the bulk scenarios (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each tool; the median counts (%(default)s)")
    parser.add_argument("--gib", type=int, default=10, help="size of soak (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--table", action="store_true", help="print the table of the README at the end")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if unknown := set(names) - {*SCENARIOS, *LONG}:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    print(f"# load {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors", file=sys.stderr)
    results, good = [], True
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        ca, certificate = _certificates(folder)
        for scenario in names:
            if scenario == "library":
                beside_asyncio(ca, certificate)
            elif scenario == "relays":
                good &= beside_relays(options.mib, options.runs, ca, certificate)
            elif scenario == "soak":
                good &= soak(options.gib, ca, certificate)
            elif scenario == "idle":
                good &= idle(ca, certificate)
            else:
                result = measure(scenario, options.mib, options.runs, folder, ca, certificate)
                results.append(result)
                good &= result.costs["cfcat"] is not None
                print(*text(result), sep="\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(as_data(results), indent=1) + "\n")
    if options.table:
        print("", *markdown(results), sep="\n")
    return 0 if good else 1


def _certificates(folder: Path) -> tuple[Path, Path]:
    """A throw-away CA, and a server's certificate with its key, as files."""
    authority = trustme.CA()
    ca, certificate = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    return ca, certificate


if __name__ == "__main__":
    sys.exit(main())
