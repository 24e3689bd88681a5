"""What the host and the agent agree on: the package format, the tensors on the wire and the MQTT contract."""

# The distribution's version: looking it up in the installed metadata takes 4 MB and 80 ms.
__version__ = "0.1.0"
