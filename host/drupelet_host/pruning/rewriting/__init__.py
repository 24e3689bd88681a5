"""Layers in another form that computes the same and can be narrowed: attention, normed weights, trimmed kernels.

Must not import any other part of pruning.
"""
