"""Measures a model's metric, size, latency and memory in the engine that will run it.

Must not import the compiler, pruning or quantization.
"""
