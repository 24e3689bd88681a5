"""Estimates the latency of model files and packages on a target, by the models of processors in `latency`.

Must not be imported by passes or the search, which read the latency table themselves.
"""
