"""Each certificate must be wrong in exactly one way, as openssl sees it."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.helpers.certs import CertSet, Kind


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("good", []),
        ("wrong_host", [64]),  # IP address mismatch
        ("untrusted", [20]),  # unable to get local issuer certificate
        ("expired", [10]),
        ("self_signed", [18]),
        ("cn_only", [64]),
    ],
)
@pytest.mark.parametrize("strict", [[], ["-x509_strict"]], ids=["", "strict"])
def test_verify_code(certs: CertSet, kind: Kind, codes: list[int], strict: list[str]) -> None:
    """Under X509_V_FLAG_X509_STRICT too, which newer Pythons set: no accidental second fault."""
    command = ["openssl", "verify", *strict, "-CAfile", str(certs.ca), "-verify_ip", "::1"]
    command.append(str(certs[kind].chain))
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert [int(code) for code in re.findall(r"^error (\d+) at", run.stderr, re.M)] == codes, run.stderr
    assert (run.returncode == 0) == (not codes)
