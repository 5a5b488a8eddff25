"""What happened on a connection, in the order in which it happened, for all that tell of it: logs, reports, exports."""
