"""The numbers the agent reports: histograms, device state, thresholds and events.

Reads what it is given through protocols; must not import `serving` or `messaging`.
"""
