"""Static int8 for ncnn: the parameters that ncnn's own C++ tools would write, by our own calibration.

Must not import PyTorch, export or the compiler.
"""
