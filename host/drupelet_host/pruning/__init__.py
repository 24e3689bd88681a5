"""Structured pruning: what can be removed together, how much of it, in which steps, and how the model recovers."""
