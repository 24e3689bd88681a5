"""Runs the tasks of a compile: in this process, in local worker processes, or on a Ray cluster.

Knows nothing of what a task computes. Must not import the compiler, a pass, or anything that submits tasks.
"""
