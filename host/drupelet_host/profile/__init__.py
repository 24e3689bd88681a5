"""Views of a device's operator profile: totals and a page with a flame graph.

Must not import the client or the compiler.
"""
