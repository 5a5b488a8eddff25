"""What a run says of itself: exit status, messages, and the escaping of everything that a peer said."""
