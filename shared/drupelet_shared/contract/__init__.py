"""The MQTT contract: topics, messages, commands, delivery and their JSON Schemas.

Must not import `inference`, `engines` or NumPy.
"""
