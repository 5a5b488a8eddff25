"""Pipe mode: stdin to the socket, the socket to stdout, byte for byte, with the right end and the right status."""
