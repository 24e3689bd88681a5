"""The agent: the process on the device that stores, tunes and serves packages over MQTT.

May import `drupelet_shared`, never `drupelet_host`.
"""

from drupelet_shared import __version__ as __version__
