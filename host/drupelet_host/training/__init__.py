"""Trains PyTorch modules: recovery after pruning, distillation, augmentation, fake quantization, batch-norm statistics.

Owns everything that changes weights by gradient. Must not import pruning, quantization or the compiler.
"""
