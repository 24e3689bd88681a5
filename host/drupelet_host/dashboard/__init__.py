"""The fleet in a browser: a static page, and the bridge over which it speaks MQTT to the broker."""
