"""ONNX files made smaller and faster: optimised, int8, float16 weights, mixed precision."""
