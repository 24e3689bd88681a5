"""Commands to devices over MQTT 5: install, push, activate, roll back, desired states.

Must not import `client.inference`.
"""
