"""Inference requests over MQTT 5, to one device or to a pool, and the matching of replies to requests.

Must not import `client.control`.
"""
