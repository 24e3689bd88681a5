"""The agent's configuration: one TOML file, its sections, the environment and credentials.

Parsed once, immutable afterwards. Must not import any other folder of the agent.
"""
