"""The benchmark: pipe mode beside other tools, over the same work. Not collected by pytest; `python -m tests.bench`."""
