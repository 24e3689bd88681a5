"""Reports the progress of long work: the `Observer` protocol.

Imports nothing of the product.
"""
