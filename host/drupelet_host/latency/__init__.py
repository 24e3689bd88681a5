"""Tells what a model costs on the target: one protocol for its sources, and this machine as one of them.

Must not import pruning, the compiler or the recipe.
"""
