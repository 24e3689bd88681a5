"""Runs a roll-out: observe, decide, save, send, and again, until it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.rollout.controller import RolloutController
from drupelet_host.rollout.link import RolloutLink
from drupelet_host.rollout.records import make_record, save_state, sign_record
from drupelet_host.rollout.rollback import SETTLE_S
from drupelet_host.rollout.state import RolloutState

_POLL_S = 0.5
# The file is written at once when a wave changes, and for progress within a wave at this interval.
_SAVE_S = 5.0
_FLUSH_S = 60.0
# Well below the time that a device has to become active, 15 minutes by default.
_REFRESH_S = 30.0

OnProgress = Callable[[RolloutState], None]


@dataclass(frozen=True, slots=True)
class RolloutOutput:
    """Where a roll-out leaves its traces.

    Attributes:
        path: The file with its state.
        key: The key that signs its records; None leaves them unsigned.
        on_progress: Called after each step.
    """

    path: Path
    key: ec.EllipticCurvePrivateKey | None
    on_progress: OnProgress


def run_rollout(
    state: RolloutState,
    link: RolloutLink,
    output: RolloutOutput,
    *,
    poll_s: float = _POLL_S,
    settle_s: float = SETTLE_S,
    refresh_s: float = _REFRESH_S,
) -> None:
    """Run a roll-out until it is completed, stopped or held; when it is interrupted, its file has what is needed.

    Args:
        state: The roll-out, which is kept up to date.
        link: A connected link that knows the devices.
        output: Where its traces go.
        poll_s: The time between steps.
        settle_s: The time that a device has to finish an installation when it is rolled back.
        refresh_s: The time after which what the broker has retained is read again.

    Raises:
        BrokerError: The broker refuses a message.
        StorageError: The state cannot be saved.
    """
    controller = RolloutController(state, start_s=time.monotonic(), settle_s=settle_s)
    saved_s = refreshed_s = time.monotonic()
    _save(state, link, output)
    try:
        while not state.is_ended:
            step = link.read(
                lambda devices, now_s: controller.step(
                    devices, now_s=now_s, now=datetime.now(UTC).replace(microsecond=0)
                )
            )
            if step.has_changed or time.monotonic() - saved_s >= _SAVE_S:
                # Before anything is sent: after a crash here the file knows more than the devices, never less.
                _save(state, link, output)
                saved_s = time.monotonic()
            if time.monotonic() - refreshed_s >= refresh_s:
                link.refresh()
                refreshed_s = time.monotonic()
            link.send(step.orders)
            output.on_progress(state)
            if not step.has_changed:
                time.sleep(poll_s)
        link.flush(timeout_s=_FLUSH_S)
    finally:
        save_state(output.path, state)


def _save(state: RolloutState, link: RolloutLink, output: RolloutOutput) -> None:
    save_state(output.path, state)
    link.announce(sign_record(make_record(state, now=datetime.now(UTC).replace(microsecond=0)), output.key))
