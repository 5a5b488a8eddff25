"""Proxies: the dialogs with them, their URLs, the environment's variables, and HAProxy's header. No I/O.

`core.proxy` runs the dialogs on a socket. They are not among the `protocols`, because the core must not import those.
"""
