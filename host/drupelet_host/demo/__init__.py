"""An embedded MQTT broker for demonstrations and tests.

Must not import the compiler or the client.
"""
