"""Which devices are on a broker, from their retained birth messages."""

from __future__ import annotations

import time

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.errors import DeviceOfflineError
from drupelet_host.fleet.feed import FleetFeed

# Retained messages come in one go: a pause this long is their end.
_QUIET_S = 1.0


def find_devices(
    broker: BrokerAddress, *, prefix: str, connect_timeout_s: float, with_offline: bool
) -> tuple[str, ...]:
    """The names of the devices that say they are online, sorted; or of all that have ever said something there.

    Raises:
        BrokerError: The broker cannot be reached or refuses.
        DeviceOfflineError: There are none.
    """
    with FleetFeed(broker, prefix=prefix, connect_timeout_s=connect_timeout_s) as feed:
        known, deadline_s = -1, 0.0
        while known != (count := feed.read(lambda fleet, _: len(fleet.devices))) or time.monotonic() < deadline_s:
            if known != count:
                known, deadline_s = count, time.monotonic() + _QUIET_S
            time.sleep(0.05)
        found = feed.read(
            lambda fleet, _: sorted(
                name
                for name, device in fleet.devices.items()
                if device.status and (with_offline or device.status.state == "online")
            )
        )
    if not found:
        raise DeviceOfflineError(f"broker {broker}: no device under {prefix!r} is there")
    return tuple(found)
