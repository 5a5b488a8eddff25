"""The socket core: everything that `connect()` promises, and nothing of terminals, files or messages.

Data moves along one line: address and options, `connect()`, wire and codec, streams. Every decision about state is
made in `lifecycle`. The package `cfcat` names what others may use; nothing is imported here, so that the pure modules
can be had without the event loop.
"""
