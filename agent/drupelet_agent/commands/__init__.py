"""Commands over MQTT: received by the daemon, each run in a process of its own.

Must not import `app`.
"""
