"""The package format: archive, manifest, signature, trust, golden vectors.

Reads bytes as if an enemy had written them. Must not import `contract`.
"""
