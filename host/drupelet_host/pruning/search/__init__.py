"""The search for how far each group is pruned when the recipe states constraints and no ratio.

Must not import the compiler or a pass.
"""
