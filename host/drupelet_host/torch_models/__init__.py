"""What the compiler asks of any PyTorch module: the device it runs on and the names of its outputs.

The lowest layer above PyTorch. Must not import any other folder but `recipe`.
"""
