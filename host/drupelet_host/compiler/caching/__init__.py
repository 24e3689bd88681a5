"""The cache of finished passes: its entries, what their keys depend on, and the locks of compiles that share it.

Must not import passes or the pipeline.
"""
