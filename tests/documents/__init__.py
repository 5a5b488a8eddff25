"""The documents that say what the code says: completions, the manual's OPTIONS, lists of protocols.

`python -m tests.documents` makes what stands between marker comments in them, from the flags of `program/cli.py` and
the rows of `protocols/table.py`; everything else is written by hand. `tests/test_documented.py` fails where a document
is not what the command makes.
"""
