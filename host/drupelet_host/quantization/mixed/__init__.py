"""Mixed precision: which layers stay in float, from each layer's loss in int8 and what int8 saves on the target.

Must not import PyTorch, export or the compiler.
"""
