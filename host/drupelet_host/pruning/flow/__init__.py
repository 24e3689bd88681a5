"""Follows channels through the operators that a model runs: exact where code splits, joins or shuffles them.

Must not import `pruning.search` or `pruning.ratio`.
"""
