"""Dependency groups: which channels of which layers can only be removed together, and their removal.

The one place that talks to Torch-Pruning. Must not import data, training, evaluation or the rest of pruning.
"""
