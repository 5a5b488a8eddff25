"""What a session did, as a program: a Worker that makes the same `connect()` and sends the same bytes."""
