"""The MQTT 5 client of the agent at QoS 0 and 1: packets, connection, unacknowledged publications.

A protocol client that knows no topic and no message of the product; it imports nothing of drupelet.
"""
