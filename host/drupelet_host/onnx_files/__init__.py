"""Reads, prepares, optimises and writes ONNX files.

Must not import quantization, export, PyTorch or the compiler.
"""
