"""The tests of cfcat. A package, so that `python -m tests.conformance` works and helpers can be imported."""
