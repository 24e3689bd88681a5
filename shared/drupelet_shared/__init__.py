"""What host and agent share: package format, MQTT contract, inference codec and engine adapters.

Must not import `drupelet_host`, `drupelet_agent` or a training framework.
"""

# The distribution's version: looking it up in the installed metadata takes 4 MB and 80 ms.
__version__ = "0.2.0"
