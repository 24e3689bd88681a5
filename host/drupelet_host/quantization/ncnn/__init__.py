"""Static int8 for ncnn: the parameters that ncnn's C++ tools would write, from this compiler's calibration.

Must not import PyTorch, export or the compiler.
"""
