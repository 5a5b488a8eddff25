"""Scenarios in which cfcat accepts: what a `connect()` handler is given, against a scripted client."""
