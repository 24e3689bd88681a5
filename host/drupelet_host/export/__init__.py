"""Converts PyTorch modules and `torch.export` programs to the model files that engines load.

Each conversion is checked against PyTorch. Must not import quantization, the compiler or pruning.
"""
