"""Builds and signs packages, and creates signing keys.

Must not import the compiler or PyTorch.
"""
