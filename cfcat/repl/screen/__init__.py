"""A session on a terminal: the line editor, and the plain prompt where the cursor cannot be moved."""
