"""Which devices have announced themselves on a broker, and why a device cannot answer."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pydantic import ValidationError

from drupelet_host.errors import DeviceOfflineError
from drupelet_shared.contract.messages import DeviceStatus

_NAMES_LISTED = 5


def status_filter(prefix: str) -> str:
    """Return the topic filter of all devices' retained birth messages and wills."""
    return f"{prefix.strip('/')}/+/status"


def read_statuses(payloads: Mapping[str, bytes]) -> dict[str, DeviceStatus]:
    """Return the devices' latest statuses by device name, from retained payloads by topic.

    Payloads of other topics and those that are no status are left out.
    """
    statuses = {}
    for topic, payload in payloads.items():
        try:
            status = DeviceStatus.model_validate_json(payload)
        except ValidationError:
            continue
        if topic.endswith(f"/{status.device}/status"):
            statuses[status.device] = status
    return statuses


def explain_absence(device: str, statuses: Mapping[str, DeviceStatus], *, prefix: str) -> DeviceOfflineError | None:
    """Explain why a device does not answer.

    Args:
        device: The device's name.
        statuses: All known statuses by device name.
        prefix: The first levels of the topics, for the message.

    Returns:
        The error, which names the most similar device; None if the device is online.
    """
    status = statuses.get(device)
    if status is not None and status.state == "online":
        return None
    if status is not None:
        return DeviceOfflineError(f"device {device!r} says that it is offline: start its agent or check its network")
    return DeviceOfflineError(
        f"device {device!r} has not announced itself: {_describe_others(device, statuses, prefix)}"
    )


def _describe_others(device: str, statuses: Mapping[str, DeviceStatus], prefix: str) -> str:
    if not statuses:
        return (
            f"no device has announced itself under {prefix.strip('/')!r}. Start an agent, check --broker and --prefix, "
            f"or let this account read {status_filter(prefix)}"
        )
    nearest = difflib.get_close_matches(device, statuses, n=1)
    if nearest:
        return f"did you mean {nearest[0]!r}? It is {statuses[nearest[0]].state}"
    online = sorted(name for name, status in statuses.items() if status.state == "online")
    if not online:
        return f"none of the {len(statuses)} devices under {prefix.strip('/')!r} is online"
    more = f" and {len(online) - _NAMES_LISTED} more" if len(online) > _NAMES_LISTED else ""
    return f"online are {', '.join(online[:_NAMES_LISTED])}{more}"
