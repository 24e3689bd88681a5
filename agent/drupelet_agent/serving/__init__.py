"""The parent side of inference: one slot a model, bounded queues, supervised worker processes.

Must not import `worker`, NumPy or an engine.
"""
