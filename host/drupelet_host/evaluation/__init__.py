"""Measures what a model costs and how well it answers, in the engine that will run it.

Must not import the compiler, pruning or quantization.
"""
