"""Training and validation data as the compiler takes it, and the readers of its formats.

Must not import the compiler, evaluation or PyTorch modules of a model.
"""
