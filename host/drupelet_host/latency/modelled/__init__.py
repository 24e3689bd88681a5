"""Estimates latency on a target by a model of its processor: a table of layers, or the timing model itself.

Must not import pruning, the compiler or the recipe.
"""
