"""The agent's processes: the daemon, the command process, the re-tuning process, and their logs.

Connects the other folders to each other; only `cli` imports it.
"""
