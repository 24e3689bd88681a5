"""One network connection to the broker: dialling, the stream of packets, handshake, keep alive and backoff.

Knows no publication that outlives the connection. Must not import the session or the connection.
"""
