"""The parent side of worker processes: their messages, one process and its channel, and its supervision.

Must not import `worker`, NumPy or an engine, nor the rest of `serving` but `job` and `clock`.
"""
