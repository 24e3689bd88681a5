"""The agent's processes: the daemon, the command process, the re-tuning process, and their logs.

Wires the other folders together; only `cli` imports it.
"""
