"""The report of a compile: its document (`report.json`) and its rendering as one page.

Renders values it is given; must not import the compiler, PyTorch or ONNX.
"""
