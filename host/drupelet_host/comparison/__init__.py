"""The differences between two packages, two reports or two releases on a device.

Must not import the compiler's passes or a training framework.
"""
