"""Real daemons on loopback, started by the tests: `launcher` runs one, `daemons` has a function for each."""
