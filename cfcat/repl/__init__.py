"""The interactive session and its script: lines to a socket, `:` commands, and what comes back.

`Session` drives the same `Socket` as pipe mode does; the screen (a terminal) and the script (no terminal) are its two
faces. Nothing here is imported before one of them is asked for.
"""
