"""What this board is and has right now: processor, memory, control groups, temperature, power, process limits.

Must not import any other folder of the agent.
"""
