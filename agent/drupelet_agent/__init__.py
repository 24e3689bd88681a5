"""The agent: the process on the device that stores, tunes and serves packages over MQTT."""

from importlib.metadata import version

__version__ = version("drupelet")
