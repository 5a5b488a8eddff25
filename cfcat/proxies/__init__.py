"""Proxies: what is asked of one, in which words it refuses, and which one the environment names. No I/O.

`core.proxy` carries the dialogs out. They are not among the `protocols`, which the core must not know.
"""
