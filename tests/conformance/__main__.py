"""`python -m tests.conformance DIR`: run a folder of scenario files, of dialed or accepted connections."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

from tests.conformance.data import ScenarioError
from tests.conformance.inbound.scenario import is_inbound, parse_inbound
from tests.conformance.scenario import load_records, parse_scenario

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(arguments: list[str] | None = None) -> int:
    """Print one line a scenario and a last one with the sums; return 0 if none failed, 2 if none could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Run scenario files with cfcat.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of *.json scenario files")
    parser.add_argument("--jobs", type=int, help="scenarios at a time")
    options = parser.parse_args(arguments)
    try:
        from tests.conformance.inbound.runner import judge_inbound
        from tests.conformance.runner import JOBS, Certificates, judge, judge_all
    except ImportError as error:
        print(f"cfcat cannot be imported: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        records = load_records(options.folder)
        inbound = [parse_inbound(record) for record in records if is_inbound(record)]
        outbound = [parse_scenario(record) for record in records if not is_inbound(record)]
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    count: Counter[str] = Counter()
    with Certificates() as certificates:
        jobs = options.jobs or JOBS
        for verdict in chain(
            judge_all(outbound, certificates, jobs, judge), judge_all(inbound, certificates, jobs, judge_inbound)
        ):
            print(verdict, flush=True)
            count[verdict.result] += 1
    print(f"{count['pass']} pass, {count['differs']} differ, {count['FAIL']} fail")
    return EXIT_FAILED if count["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
