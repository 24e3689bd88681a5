"""The broker's address and the MQTT 5 connection that every client uses.

Must not import `client.inference` or `client.control`.
"""
