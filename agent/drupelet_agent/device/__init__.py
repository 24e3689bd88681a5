"""The present resources of this board: processor, memory, control groups, temperature, power, process limits.

Must not import any other folder of the agent.
"""
