"""Pruning to a stated ratio in steps with recovery between them, and the widths a layer may have.

Must not import the compiler, a pass or `pruning.search`.
"""
