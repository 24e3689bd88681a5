"""Measures a compiler's candidates besides what is served, in a process of its own; keeps nothing.

Must not import `app` or `commands`.
"""
