"""How long work reports its progress: the `Observer` protocol, without knowing who listens.

Imports nothing of the product.
"""
