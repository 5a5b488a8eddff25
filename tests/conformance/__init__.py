"""The recorded scenarios of the reference runtime, and the runner that replays them with cfcat.

    python -m tests.conformance tests/conformance/scenarios

Data flows one way: `scenario` reads a file · `rules` say where cfcat differs on purpose and turn the recorded
events into the expected ones · `server` and `driver` play the scenario and say what was seen · `compare` puts
the two side by side · `runner` joins them. The format is described in scenarios/README.md. `inbound` has the same
parts for accepted connections, whose format is in inbound_scenarios/README.md.
"""
