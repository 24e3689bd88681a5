"""The client: inference on a device over MQTT 5."""

from drupelet_host.client.address import BrokerAddress, TlsOptions, parse_broker_url
from drupelet_host.client.device import DeviceClient
from drupelet_host.client.pool import PoolClient

__all__ = ["BrokerAddress", "DeviceClient", "PoolClient", "TlsOptions", "parse_broker_url"]
