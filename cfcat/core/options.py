"""Options of `connect()` and the TLS context that they ask for.

Pure, but for the certificate files that a context reads. Source: rules O1-O6, V15, T1; the table of TLS defaults
in the security notes, section c.
"""

from __future__ import annotations

import dataclasses
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Literal

from cfcat.errors import CaFileError, OptionsError

__all__ = ["AddressFamily", "SecureTransport", "SocketOptions", "make_options", "make_tls_context"]

SecureTransport = Literal["off", "on", "starttls"]
AddressFamily = Literal["ipv4", "ipv6"]

SECURE_TRANSPORTS = ("off", "on", "starttls")
ADDRESS_FAMILIES = (None, "ipv4", "ipv6")

BAD_SECURE_TRANSPORT = "Unsupported value in secureTransport socket option: "
NEGATIVE_HIGH_WATER = "The value cannot be converted because it is negative and this API expects a positive bigint."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """Options of `connect()`; all may be left out (O1).

    `secure_transport`: "off", "on" (TLS from the first byte) or "starttls" (clear text until `start_tls()`).
    `allow_half_open`: may we go on writing after the peer's EOF has been read (H1, H4)?
    `high_water_mark`: bytes that `writer.desired_size` starts from (O4); 1 if None.
    Beyond the reference: `tls` is the context to use instead of the verifying default; `connect_timeout`, in
    seconds, is one deadline for resolving, connecting and handshake, and one for a later upgrade;
    `expected_server_hostname` replaces the address's host in SNI and certificate check; `address_family`
    limits the addresses tried; `allow_address` is asked about each resolved one (IP text), refused ones do
    not exist.
    """

    secure_transport: SecureTransport = "off"
    allow_half_open: bool = False
    high_water_mark: int | None = None
    tls: ssl.SSLContext | None = None
    expected_server_hostname: str | None = None
    address_family: AddressFamily | None = None
    connect_timeout: float | None = None
    allow_address: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        """Raises OptionsError for a wrong value, TypeError for a wrong type (V15)."""
        if self.secure_transport not in SECURE_TRANSPORTS:
            value = "null" if self.secure_transport is None else str(self.secure_transport)
            raise OptionsError(BAD_SECURE_TRANSPORT + value)
        if self.allow_half_open not in (False, True):
            raise TypeError(f"allow_half_open must be bool, not {type(self.allow_half_open).__name__}")
        self._expect("high_water_mark", int, type(None))
        if isinstance(self.high_water_mark, bool):
            raise TypeError("high_water_mark must be int, not bool")
        if self.high_water_mark is not None and self.high_water_mark < 0:
            raise OptionsError(NEGATIVE_HIGH_WATER)
        self._expect("tls", ssl.SSLContext, type(None))
        self._expect("expected_server_hostname", str, type(None))
        if self.address_family not in ADDRESS_FAMILIES:
            raise OptionsError(f"address_family must be 'ipv4' or 'ipv6', not {self.address_family!r}")
        self._expect("connect_timeout", int, float, type(None))
        if self.connect_timeout is not None and not self.connect_timeout > 0:
            raise OptionsError(f"connect_timeout must be a positive number, not {self.connect_timeout}")

    def _expect(self, name: str, *types: type) -> None:
        value = getattr(self, name)
        if not isinstance(value, types):
            wanted = " or ".join("None" if t is type(None) else t.__name__ for t in types)
            raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


FIELDS = frozenset(field.name for field in dataclasses.fields(SocketOptions))


def make_options(options: SocketOptions | Mapping[str, object] | None, changes: Mapping[str, Any]) -> SocketOptions:
    """Join the two ways of giving options: unknown keys of a mapping are ignored (O1), unknown keywords are not.

    Raises:
        OptionsError, TypeError: as `SocketOptions`.
    """
    if options is None:
        base: dict[str, Any] = {}
    elif isinstance(options, SocketOptions):
        base = {name: getattr(options, name) for name in FIELDS}
    elif isinstance(options, Mapping):
        base = {name: value for name, value in options.items() if name in FIELDS}
    else:
        raise TypeError(f"options must be SocketOptions or a mapping, not {type(options).__name__}")
    merged = {**base, **changes}
    if merged.get("allow_half_open", False) is None:
        del merged["allow_half_open"]  # not given
    return SocketOptions(**merged)


def make_tls_context(*, cacert: str | os.PathLike[str] | None = None, insecure: bool = False) -> ssl.SSLContext:
    """The TLS defaults of cfcat: the peer is verified, its name too, from TLS 1.2 on.

    `cacert`: a PEM file of authorities to trust instead of the platform's. `insecure`: no verification at all.

    Raises:
        CaFileError: `cacert`, or what SSL_CERT_FILE names, cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The default accepts a certificate that names its host in the subject only; no browser has for years.
    context.hostname_checks_common_name = False
    # Python 3.13 sets these and 3.11 does not: the same command must not pass on one and fail on the other.
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    # TLS 1.2 renegotiation has no use here, and OpenSSL would obey a HelloRequest.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # openssl.cnf can set this, and truncation would look like EOF (T7).
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", ssl.Options(0))
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif cacert is not None:
        _load(context, os.fspath(cacert), os.fspath(cacert))
    else:
        # OpenSSL skips a file that it cannot read, and then trusts nobody: say it here, not as "unknown issuer".
        named = os.environ.get("SSL_CERT_FILE")
        if named:
            _load(context, named, f"SSL_CERT_FILE={named}")
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _load(context: ssl.SSLContext, path: str, name: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise CaFileError(f"{name}: no certificates in PEM form in it") from error
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CaFileError(f"{name}: {text.lower()}") from error
