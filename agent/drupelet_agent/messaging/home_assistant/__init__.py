"""The description of a device and its models for Home Assistant's MQTT discovery.

Imports the contract's topics and messages of `mqtt`; nothing else of the agent.
"""
