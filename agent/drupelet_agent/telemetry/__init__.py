"""The numbers that the agent reports: histograms, device state, thresholds and events.

Reads models through protocols; must not import `serving` or `messaging`.
"""
