"""Structured pruning: which channels can be removed together, in which order, and how far.

`structure` finds and removes dependency groups, `ratio` prunes to a stated ratio, `search` prunes until constraints
are met. Must not import the compiler, the report or the command line.
"""
