"""The program: from flags to a mode, a run and an exit status."""
