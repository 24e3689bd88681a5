"""Provides the latency of models on the target: the protocol of its sources, and this machine as one of them.

Must not import pruning, the compiler or the recipe.
"""
