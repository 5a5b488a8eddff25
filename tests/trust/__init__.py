"""Servers that curl, s_client, ncat, socat and gnutls-cli all reach: certificates and suites as people have them."""
