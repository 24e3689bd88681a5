"""What a model costs in time: today measured on the workstation, labelled with the machine that measured.

Must not import pruning, the compiler or the recipe.
"""
