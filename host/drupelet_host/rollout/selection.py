"""The devices of a roll-out: chosen by labels, names and share, in an order that spreads them over the fleet."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.labels import has_labels, parse_label


class Selection(BaseModel):
    """Which devices take part; without any condition all of them.

    Attributes:
        labels: The labels that a device must have, each as "site=berlin".
        names: Patterns of which a device's name must match one, such as "cam-*"; none stands for every name.
        share: The share of the devices that meet these conditions, 0 to 1.
    """

    model_config = ConfigDict(frozen=True)

    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


def select_devices(
    labels_by_device: Mapping[str, Mapping[str, str] | None], selection: Selection, *, seed: str
) -> tuple[str, ...]:
    """Return the devices of a selection in the order in which they are changed.

    Neighbours by name are often neighbours in fact: one site, one batch of boards. The order is that of a hash of seed
    and name, so that a wave is a sample of the whole fleet; the same seed gives the same order everywhere.

    Args:
        labels_by_device: The labels of every device.
        selection: The conditions.
        seed: Changes the order, so that not every roll-out begins with the same devices.
    """
    required = [parse_label(text) for text in selection.labels]
    matching = [
        device
        for device, labels in labels_by_device.items()
        if has_labels(labels, required) and _matches(device, selection.names)
    ]
    ordered = sorted(matching, key=lambda device: hashlib.sha256(f"{seed}:{device}".encode()).digest())
    return tuple(ordered[: math.ceil(len(ordered) * selection.share)])


def _matches(device: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(device, pattern) for pattern in patterns)
