"""Chooses the source of latencies that a recipe names, and the table by which passes choose.

Must not import passes or the pipeline.
"""
