"""A pruned candidate as the files that would ship: one task for each engine.

Must not import the judge.
"""
