"""The encoding of MQTT 5 packets: integers, text, properties, packets, and the framing of a byte stream.

Functions of bytes alone. Must not import the session, the connection or `link`.
"""
