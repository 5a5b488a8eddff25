"""Options (O1 to O6, V15) and the TLS context that they ask for."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cfcat import connect
from cfcat.core.context import make_tls_context
from cfcat.core.options import SocketOptions, make_options
from cfcat.errors import AddressError, CaFileError, OptionsError
from tests.helpers.certs import CertSet
from tests.helpers.peers import refusing

NEGATIVE_BIGINT = "The value cannot be converted because it is negative and this API expects a positive bigint."


def made(options: SocketOptions | Mapping[str, object] | None = None, **changes: Any) -> SocketOptions:
    return make_options(options, changes)


# -------------------------------------------------------------------------------------------- O1 to O6


def test_o1_all_options_may_be_left_out() -> None:
    """O1: clear text, closed by the peer's EOF, and nothing else set."""
    assert made() == made({}) == made(SocketOptions()) == SocketOptions()
    values = SocketOptions()._asdict()
    reference = {name: values.pop(name) for name in ("secure_transport", "allow_half_open", "high_water_mark")}
    assert reference == {"secure_transport": "off", "allow_half_open": False, "high_water_mark": None}
    assert not any(values.values()), "what the reference does not have is off"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"no_such_option": 1}, "connect() has no option 'no_such_option'"),
        ({"secureTransport": "on"}, "connect() has no option 'secureTransport'; in Python it is secure_transport"),
        ({"allowHalfOpen": True}, "connect() has no option 'allowHalfOpen'; in Python it is allow_half_open"),
        ({"secure_transport": "on", 5: 5}, "connect() has no option 5"),
        ({"ssl": True}, "connect() has no option 'ssl'; here that is: secure_transport='on', with tls= for a context"),
        ({"cacert": "ca.pem"}, "connect() has no option 'cacert'; here that is: tls=make_tls_context(cacert=...)"),
    ],
)
def test_v18_unknown_keys_of_a_mapping_are_type_errors(given: dict[str, object], text: str) -> None:
    """V18: ignored, the reference's own spelling would mean clear text."""
    with pytest.raises(TypeError) as caught:
        made(given)
    assert str(caught.value) == text


def test_v18_a_context_alone_is_not_clear_text() -> None:
    """V18: who gives a context wants TLS. Where "off" is given too, it is for another connection."""
    context = ssl.create_default_context()
    with pytest.raises(OptionsError, match=r"^tls needs secure_transport: 'on' begins with TLS"):
        made(None, tls=context)
    with pytest.raises(OptionsError, match=r"^tls needs secure_transport"):
        made({"tls": context})
    assert made(None, tls=context, secure_transport="off").tls is context


def test_an_unknown_keyword_is_a_type_error() -> None:
    """A misspelt keyword is the programmer's mistake, as in any Python call."""
    with pytest.raises(TypeError, match="no_such_option"):
        made(None, no_such_option=1)


@pytest.mark.parametrize("value", ["off", "on", "starttls"])
def test_o2_secure_transport_has_three_values(value: str) -> None:
    """O2: each of the three values is accepted and kept."""
    assert made({"secure_transport": value}).secure_transport == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", ""), ("ON", "ON"), ("tls", "tls"), (" on", " on"), ("null", "null"), (None, "null"), (True, "True")],
)
def test_o2_any_other_secure_transport_is_refused_by_name(value: object, shown: str) -> None:
    """O2: the comparison is exact, and the text ends in the value; None is null."""
    with pytest.raises(OptionsError) as caught:
        made({"secure_transport": value})
    assert caught.value.message == f"Unsupported value in secureTransport socket option: {shown}"


@pytest.mark.parametrize("value", [False, 0, None])
def test_o3_what_is_false_beyond_doubt_is_false(value: object) -> None:
    """O3: here the reference and Python agree; None is an option that was left out."""
    assert made({"allow_half_open": value}) == SocketOptions()


def test_o4_the_high_water_mark_may_be_zero_and_not_negative() -> None:
    """O4: with the reference's text."""
    assert made(high_water_mark=0).high_water_mark == 0
    with pytest.raises(OptionsError) as caught:
        made(high_water_mark=-1)
    assert caught.value.message == NEGATIVE_BIGINT


@pytest.mark.parametrize("options", [5, "on", ("on",), True, [("secure_transport", "on")]])
def test_o5_v15_options_are_socket_options_or_a_mapping(options: object) -> None:
    """O5, V15: the type that came is named."""
    with pytest.raises(TypeError, match=rf"mapping, not {type(options).__name__}$"):
        made(options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allow_half_open", "false"),
        ("allow_half_open", 2),
        ("high_water_mark", 1.5),
        ("high_water_mark", "1"),
        ("high_water_mark", True),
        ("tls", True),
        ("via", "socks5h://gate.example"),
        ("expected_server_hostname", b"localhost"),
        ("connect_timeout", "1"),
    ],
)
def test_o3_v15_a_wrong_type_is_a_type_error(name: str, value: object) -> None:
    """O3, V15: nothing goes by truth or is converted; the option and the type are named."""
    with pytest.raises(TypeError, match=rf"^{name} must be .*, not {type(value).__name__}$"):
        made({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("address_family", "ipv5"),
        ("address_family", 4),
        ("connect_timeout", 0),
        ("connect_timeout", -1),
        ("connect_timeout", float("nan")),
    ],
)
def test_a_wrong_value_of_our_own_options_is_an_options_error(name: str, value: object) -> None:
    """What the reference does not have is refused in the same way, at once."""
    with pytest.raises(OptionsError, match=name):
        made({name: value})


def test_keywords_win_over_the_mapping() -> None:
    """`connect(address, options, allow_half_open=...)`: the more explicit one counts."""
    given = {"allow_half_open": True, "high_water_mark": 7}
    assert made(given, allow_half_open=False) == SocketOptions(high_water_mark=7)
    assert made(SocketOptions(high_water_mark=7), high_water_mark=8) == SocketOptions(high_water_mark=8)


def test_options_are_frozen() -> None:
    """They are handed from socket to socket at the upgrade."""
    with pytest.raises(AttributeError):
        SocketOptions().allow_half_open = True  # type: ignore[misc]


async def test_o6_the_flags_are_there_before_opened() -> None:
    """O6: `secure_transport` is the option as resolved, `upgraded` is False; neither can be set."""
    with refusing() as port:
        for value in ("off", "on", "starttls"):
            socket = connect(f"127.0.0.1:{port}", secure_transport=value)
            assert (socket.secure_transport, socket.upgraded) == (value, False)
            for name in ("secure_transport", "upgraded"):
                with pytest.raises(AttributeError):
                    setattr(socket, name, "on")
            socket.abort()


async def test_a13_the_address_is_looked_at_before_the_options() -> None:
    """A13: of two mistakes the address's is told."""
    with pytest.raises(AddressError):
        connect("127.0.0.1:25/x", secure_transport="nope")  # type: ignore[arg-type]
    with pytest.raises(OptionsError):
        connect("127.0.0.1:25", secure_transport="nope")  # type: ignore[arg-type]


def test_a15_there_must_be_a_running_loop() -> None:
    """A15: outside of one, `connect()` raises and makes nothing."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        connect("127.0.0.1:25")


# ----------------------------------------------------------------------------------------- the context


def test_the_context_verifies_peer_and_name() -> None:
    """On is the default, and only `insecure` is off."""
    context = make_tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    insecure = make_tls_context(insecure=True)
    assert (insecure.verify_mode, insecure.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("insecure", [False, True])
def test_the_context_is_the_same_everywhere(insecure: bool) -> None:
    """The same on every Python and OpenSSL: versions, flags and options that their defaults disagree about."""
    context = make_tls_context(insecure=insecure)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.hostname_checks_common_name is False
    assert ssl.VERIFY_X509_STRICT not in context.verify_flags
    assert ssl.VERIFY_X509_PARTIAL_CHAIN in context.verify_flags
    assert ssl.OP_NO_RENEGOTIATION in context.options
    assert not context.options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    assert ssl.OP_NO_COMPRESSION in context.options


def subjects(context: ssl.SSLContext) -> set[str]:
    return {str(certificate["subject"]) for certificate in context.get_ca_certs()}


def test_cacert_replaces_the_platforms_authorities(certs: CertSet) -> None:
    """`cacert` is all that is trusted then; a path object will do."""
    for path in (certs.ca, str(certs.ca)):
        assert len(make_tls_context(cacert=path).get_ca_certs()) == 1


def test_insecure_reads_no_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is not verified needs no file, not even a broken one."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    assert make_tls_context(insecure=True).get_ca_certs() == []


UNUSABLE: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "binary": bytes(range(256)),
    "text": b"no certificate in here\n",
    "cut": b"-----BEGIN CERTIFICATE-----\nMIIB\n",
    "nonsense": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}


@pytest.fixture(params=[*UNUSABLE, "folder"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A path that holds no authorities, in one way or another."""
    path = tmp_path / f"{request.param}.pem"
    content = UNUSABLE.get(request.param)
    if request.param == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    return path


def test_an_unusable_cacert_is_named(unusable: Path) -> None:
    """Missing, a folder, empty, binary or text: an error that says which file, and not only at the handshake."""
    with pytest.raises(CaFileError) as caught:
        make_tls_context(cacert=unusable)
    assert str(unusable) in caught.value.message
    assert isinstance(caught.value, OptionsError)
    assert isinstance(caught.value.__cause__, OSError)  # SSLError is one too


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read everything: switch to the user `nobody`."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_cacert_without_permission_is_named(tmp_path: Path) -> None:
    """What the operating system refuses is told in its words."""
    path = tmp_path / "secret.pem"
    path.write_bytes(b"x")
    path.chmod(0)
    with unprivileged(), pytest.raises(CaFileError, match=r"secret\.pem: permission denied"):
        make_tls_context(cacert=path)


def test_an_unusable_ssl_cert_file_is_named(monkeypatch: pytest.MonkeyPatch, unusable: Path) -> None:
    """OpenSSL would ignore it and trust nobody: the variable and the file are named instead."""
    monkeypatch.setenv("SSL_CERT_FILE", str(unusable))
    with pytest.raises(CaFileError) as caught:
        make_tls_context()
    assert f"SSL_CERT_FILE={unusable}" in caught.value.message


def test_a_usable_ssl_cert_file_is_trusted(monkeypatch: pytest.MonkeyPatch, certs: CertSet) -> None:
    """SSL_CERT_FILE stands for the platform's file of authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certs.ca))
    assert subjects(make_tls_context()) >= subjects(make_tls_context(cacert=certs.ca))


def test_an_unusable_ssl_cert_file_does_not_matter_beside_cacert(
    monkeypatch: pytest.MonkeyPatch, certs: CertSet, tmp_path: Path
) -> None:
    """`cacert` replaces it, so it is not looked at."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    assert make_tls_context(cacert=certs.ca).get_ca_certs()
