"""What to do about an error: the hints of `messages`, those about TLS by OpenSSL's codes and reasons."""

from __future__ import annotations

from cfcat.errors import SilentIn

__all__ = [
    "ACCEPT_HINT",
    "CERTIFICATE_HINTS",
    "CLEAR_CLIENT",
    "DISTRUSTED",
    "FILES_HINT",
    "FOLDER_HINT",
    "INSECURE_HINT",
    "LONGER_HINT",
    "ONE_PORT",
    "OTHER_AUTHORITY",
    "OTHER_CLIENTS",
    "OTHER_NAME",
    "OTHER_VERSION",
    "PROXY_AUTHORITY",
    "PROXY_HINTS",
    "REPLACED",
    "SHUTDOWN_HINT",
    "SILENT_HINTS",
    "SPEAKS",
    "TLS_HINTS",
    "TRUST_US",
    "VERSIONS_DIFFER",
    "WAIT_HINT",
]

# Our end came before the failure, and some servers drop what they have not sent when it comes.
SHUTDOWN_HINT = "--shutdown never keeps our end from the server"
ACCEPT_HINT = "--ignore-unexpected-eof accepts it"
LONGER_HINT = "--connect-timeout SECS waits longer"
WAIT_HINT = "--wait SECS with more seconds waits longer"
ONE_PORT = "one port a run: a shell loop tries several"
TLS_AT_ONCE = "--tls on, if TLS begins at once on this port"
SILENT_HINTS: dict[SilentIn, str] = {  # a server that waits for something else says nothing, or goes
    "handshake": "--starttls PROTO or --tls off, if clear text comes first on this port",
    "tapped handshake": "--accept-tls on takes TLS from the client alone, if the server wants clear text",
    "dialog": TLS_AT_ONCE,
    "clear text": TLS_AT_ONCE,
}
INSECURE_HINT = "-k connects anyway, without protection"
FOLDER_HINT = "SSL_CERT_DIR=DIR in the environment trusts a folder"
OTHER_AUTHORITY = "--cacert FILE trusts another authority"
OTHER_NAME = "--sni NAME expects another name"
RENEWED = "whoever runs the server has to renew it"
REPLACED = "whoever runs the server has to replace it"  # the default hint
CERTIFICATE_HINTS = {  # by X509_V_ERR_…
    9: "the clock of this machine may be wrong",
    10: RENEWED,
    18: OTHER_AUTHORITY,
    19: OTHER_AUTHORITY,
    20: f"{OTHER_AUTHORITY}; a server has to send its intermediate certificates",
    21: f"{OTHER_AUTHORITY}; a server has to send its intermediate certificates",
    62: OTHER_NAME,
    64: OTHER_NAME,
}
# The hint by OpenSSL's reason: the peer sent this alert, or we refused its ServerHello.
NEEDS_CERTIFICATE = "--cert FILE shows who we are"
REFUSES_CERTIFICATE = "the peer does not accept the certificate of --cert"
# Servers in Go send this alert where we have shown none, too.
WANTS_ANOTHER = f"the peer wants a certificate, or another one: {NEEDS_CERTIFICATE}"
OTHER_VERSION = "TLS 1.2 and 1.3 are spoken here, or what --tls-min and --tls-max leave of them"
TLS_HINTS = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"no version or cipher in common, or a certificate is wanted: {NEEDS_CERTIFICATE}",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": NEEDS_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": WANTS_ANOTHER,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": REFUSES_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": REFUSES_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": REFUSES_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": REFUSES_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": REFUSES_CERTIFICATE,
    "TLSV1_ALERT_PROTOCOL_VERSION": OTHER_VERSION,
    "UNSUPPORTED_PROTOCOL": OTHER_VERSION,
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": (
        "the server has to be updated; the file of OPENSSL_CONF can allow it: Options = UnsafeLegacyServerConnect"
    ),
    "NO_RENEGOTIATION": f"it may want a certificate: {NEEDS_CERTIFICATE}, if the server asks with the first handshake",
    "TLSV1_UNRECOGNIZED_NAME": "--sni NAME asks for another name",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "--alpn LIST offers other protocols",
}
FILES_HINT = "ulimit -n allows more"
# What a proxy wants, and what else may be there in its place.
PROXY_HINTS = {
    "credentials": "they go into the URL, or into CFCAT_PROXY_USER and CFCAT_PROXY_PASSWORD",
    "ended": "ssh -D ends so where it cannot reach the target, and others where they speak something else",
}
PROXY_AUTHORITY = "--proxy-cacert FILE trusts another authority"
SPEAKS = {
    b"H": "http:// in the URL, if it is an HTTP proxy",
    b"\x05": "socks5h:// in the URL, if it speaks SOCKS",
    b"\x15": "https:// in the URL, if it wants TLS",
}
# Where we are the server.
DISTRUSTED = (REFUSES_CERTIFICATE, WANTS_ANOTHER)  # the same alerts, from a client
TRUST_US = "--ca-out FILE keeps the authority that the client has to trust; --cert FILE shows another certificate"
OTHER_CLIENTS = "--client-ca FILE says whose certificates clients need"
CLEAR_CLIENT = "without --tls on, or --accept-tls on, it is accepted in clear text; --starttls PROTO upgrades"
VERSIONS_DIFFER = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER"})
