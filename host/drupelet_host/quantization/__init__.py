"""Quantizes ONNX files: static and dynamic int8, float16 weights, mixed precision.

Must not import PyTorch, export or the compiler.
"""
