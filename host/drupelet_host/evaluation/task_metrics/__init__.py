"""Metrics of detectors and segmentation models, computed from the answers that a device would give.

Must not import `compiler`.
"""
