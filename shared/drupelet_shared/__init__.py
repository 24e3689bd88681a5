"""What the host and the agent agree on: the package format, the tensors on the wire and the MQTT contract."""
