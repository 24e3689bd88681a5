"""What a roll-out sends to devices."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_shared.contract.delivery import DesiredState


@dataclass(frozen=True, slots=True)
class Desire:
    """Write a device's desired state.

    Attributes:
        device: The device's name.
        desired: The desired state; None deletes it.
    """

    device: str
    desired: DesiredState | None


@dataclass(frozen=True, slots=True)
class RollBack:
    """Send the command `rollback`.

    Attributes:
        device: The device's name.
        release: The release that must be active for it.
    """

    device: str
    release: int


@dataclass(frozen=True, slots=True)
class Activate:
    """Send the command `activate`.

    Attributes:
        device: The device's name.
        release: The release to activate.
    """

    device: str
    release: int


Order = Desire | RollBack | Activate
