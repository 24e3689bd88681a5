"""Handles PyTorch modules in general: loading, the device they run on, and the names of their outputs.

The lowest layer above PyTorch. Must not import any other folder but `recipe`.
"""
