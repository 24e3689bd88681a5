"""The fleet in a browser: a static page, and the bridge over which the page speaks MQTT to the broker.

Must not import the compiler.
"""
