"""The edges of the process: its standard descriptors, its terminal, and what is asked of a person there."""
