"""The release that an automatic roll-back restores: a pure function."""

from __future__ import annotations

from drupelet_agent.store.records import Activation, ModelRecord


def release_to_restore(record: ModelRecord, failed: Activation) -> Activation | None:
    """Return the release to roll back to when the active one fails; None if there is none.

    Only an older release is restored. After a roll-back the newer release is the one before the active one; if the
    restored release fails too, returning to the newer one would alternate between the two for ever.

    Args:
        record: What the store knows of the model.
        failed: The release that failed while it served.
    """
    previous = record.previous
    if record.active != failed or previous is None or previous.release >= failed.release:
        return None
    return previous
