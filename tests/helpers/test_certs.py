"""Each certificate must be wrong in exactly one way, as openssl sees it."""

from __future__ import annotations

import re
import ssl
import subprocess

import pytest

from tests.helpers.certs import KEY_PASSWORD, CertSet, Kind


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("good", []),
        ("chain", []),
        ("wrong_host", [64]),  # IP address mismatch
        ("untrusted", [20]),  # unable to get local issuer certificate
        ("expired", [10]),
        ("not_yet", [9]),
        ("self_signed", [18]),
        ("cn_only", [64]),
        ("revoked", [23]),
        ("incomplete", [20]),
        ("client_purpose", [26]),
        ("weak", [66]),  # end entity key too small
    ],
)
@pytest.mark.parametrize("strict", [[], ["-x509_strict"]], ids=["", "strict"])
def test_verify_code(certs: CertSet, kind: Kind, codes: list[int], strict: list[str]) -> None:
    """Under X509_V_FLAG_X509_STRICT too, which newer Pythons set: no accidental second fault."""
    command = ["openssl", "verify", *strict, "-CAfile", str(certs.ca), "-verify_ip", "::1"]
    # As a TLS client does; openssl by itself looks at the first certificate of a file only.
    command += ["-purpose", "sslserver", "-auth_level", "2", "-untrusted", str(certs[kind].chain)]
    if kind not in ("chain", "incomplete", "untrusted", "self_signed"):  # it is not the CA's list that has those
        command += ["-crl_check", "-CRLfile", str(certs.crl)]
    command.append(str(certs[kind].chain))
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert [int(code) for code in re.findall(r"^error (\d+) at", run.stderr, re.M)] == codes, run.stderr
    assert (run.returncode == 0) == (not codes)


def test_client_certificate(certs: CertSet) -> None:
    """openssl takes it for a client's; its encrypted key is the same key, and closed without the password."""
    client = certs.client
    command = ["openssl", "verify", "-CAfile", str(certs.ca), "-purpose", "sslclient", str(client.chain)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(client.chain, client.encrypted_key, KEY_PASSWORD)
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(client.chain, client.encrypted_key, "wrong")
