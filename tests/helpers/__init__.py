"""What the tests stand on: a strict event loop, scripted peers, certificates, the program, a terminal."""
