"""The names of the devices on a broker, from their retained birth messages."""

from __future__ import annotations

import time
from collections.abc import Sequence

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.errors import DeviceOfflineError
from drupelet_host.fleet.feed import FleetFeed
from drupelet_shared.labels import Label, has_labels

# The broker sends all retained messages together, so a pause of this length is their end.
_QUIET_S = 1.0
_POLL_S = 0.05


def find_devices(
    broker: BrokerAddress,
    *,
    prefix: str,
    connect_timeout_s: float,
    include_offline: bool,
    labels: Sequence[Label] = (),
) -> tuple[str, ...]:
    """Find the devices on a broker.

    Args:
        broker: The broker's address.
        prefix: The first levels of the topics.
        connect_timeout_s: The limit for connecting to the broker.
        include_offline: Whether devices that have announced that they are offline are included.
        labels: The labels that a device must have, all of them.

    Returns:
        The sorted names.

    Raises:
        BrokerError: The broker cannot be reached or refuses the client.
        DeviceOfflineError: There is no such device.
    """
    with FleetFeed(broker, prefix=prefix, connect_timeout_s=connect_timeout_s) as feed:
        _wait_until_quiet(feed)
        names = feed.read(
            lambda fleet, _: sorted(
                name
                for name, device in fleet.devices.items()
                if device.status
                and (include_offline or device.status.state == "online")
                and has_labels(device.status.labels, labels)
            )
        )
    if not names:
        which = f" with the labels {', '.join(map(str, labels))}" if labels else ""
        state = "has announced itself" if include_offline else "is online"
        raise DeviceOfflineError(
            f"broker {broker}: no device under {prefix!r}{which} {state}. "
            "Start an agent, or check --broker and --prefix"
        )
    return tuple(names)


def _wait_until_quiet(feed: FleetFeed) -> None:
    count, quiet_at_s = -1, 0.0
    while count != (current := feed.read(lambda fleet, _: len(fleet.devices))) or time.monotonic() < quiet_at_s:
        if count != current:
            count, quiet_at_s = current, time.monotonic() + _QUIET_S
        time.sleep(_POLL_S)
