"""Commands over MQTT: taken by the agent, each run in a process of its own."""
