"""Chooses among candidates: variants, constraints, the frontier, dominance, and the judge that measures.

Must not import pruning or the compiler.
"""
