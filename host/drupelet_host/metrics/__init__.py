"""The fleet's telemetry for Prometheus: the series of every device, and the page that a server scrapes.

Reads what `fleet` knows; must not import the client or the screens.
"""
