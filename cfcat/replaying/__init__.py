"""Playing one side of a connection that was recorded: `player.py` on a socket, `server.py` for the library."""
