"""Provides the latency of models on the target: the protocol of its sources, this machine, and models of processors.

Must not import pruning, the compiler or the recipe.
"""
