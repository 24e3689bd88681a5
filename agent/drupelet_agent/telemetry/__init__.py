"""Numbers the agent reports: latency histograms, outcome counts and the device's state."""
