"""Reads and writes ncnn's model files: the graph (`.param`) and the weights (`.bin`), and runs them over samples.

Must not import quantization, export, PyTorch or the compiler.
"""
