"""The MQTT client: inference on devices and pools, and commands to devices.

`connection` is the MQTT 5 connection, `inference` sends requests, `control` sends commands. Must not import the
compiler or the fleet's views.
"""

from drupelet_host.client.connection.address import BrokerAddress, TlsOptions, parse_broker_url
from drupelet_host.client.inference.device import DeviceClient
from drupelet_host.client.inference.pool import PoolClient

__all__ = ["BrokerAddress", "DeviceClient", "PoolClient", "TlsOptions", "parse_broker_url"]
