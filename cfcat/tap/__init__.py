"""The tap: between somebody else's client and its server, across TLS and STARTTLS."""
