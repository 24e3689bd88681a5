"""Packages on the device's disk: stage, verify, activate, roll back, collect.

Every change is one atomic rename under the store's lock. Must not import any other folder of the agent.
"""
