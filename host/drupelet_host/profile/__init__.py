"""Shows what a device measured of each operator: totals and a page.

Must not import the client or the compiler.
"""
