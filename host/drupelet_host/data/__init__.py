"""Training, validation and test data in memory, and the readers of its formats.

Must not import the compiler, evaluation or PyTorch modules of a model.
"""
