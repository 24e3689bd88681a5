"""The agent's messages over MQTT: requests and replies, announcements, pool membership, Home Assistant.

One dispatcher maps each topic to its handler. The bytes of everything that waits are bounded by one memory budget. Must
not import `commands`, `delivery` or `app`.
"""
