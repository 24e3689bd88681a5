"""The recipe: a whole compile described in TOML, validated at once and immutable afterwards.

Owns the schema, the targets and the `module:attribute` references. Must not import PyTorch, ONNX or any other folder
of the host.
"""
