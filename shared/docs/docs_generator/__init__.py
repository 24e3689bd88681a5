"""Makes the reference, the schemas and the man pages from the code."""
