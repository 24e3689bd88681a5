"""The agent's messages over MQTT: requests and replies, announcements, pool membership, Home Assistant.

One dispatcher maps a topic to its handler. Must not import `commands`, `delivery` or `app`.
"""
