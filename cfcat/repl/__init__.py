"""The interactive session and its script: lines to a socket, `:` commands, and what comes back.

`Session` drives the same `Socket` as pipe mode does; the screen (a terminal) and the script (no terminal) are its two
faces. This package is imported only when a session or script starts.
"""
