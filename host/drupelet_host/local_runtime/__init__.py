"""Runs a model on the workstation within a device's limits: cores and memory, enforced by the kernel.

`Runtime` is the public class; the model itself runs in a child process. Must not import the compiler, the recipe or
the client.
"""
