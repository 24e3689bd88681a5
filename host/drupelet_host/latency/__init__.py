"""Measures the latency of models on the workstation, and names the machine that measured.

Must not import pruning, the compiler or the recipe.
"""
