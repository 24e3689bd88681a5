"""The passes of a compile, one a module: a frozen configuration of exactly what it reads, and `run`.

`compiler.registry` loads them by name. Passes must not import each other.
"""
