"""The commands on installed releases: activate, rollback, remove, list."""

from __future__ import annotations

import logging
from pathlib import Path

from drupelet_agent.commands.context import Context, released
from drupelet_agent.install.activation import WRITER_TIMEOUT_S, Progress
from drupelet_agent.store.store import Store
from drupelet_shared.contract.commands import (
    ActivateRequest,
    InstalledModel,
    InstalledModels,
    InstalledRelease,
    ListRequest,
    Removed,
    RemoveRequest,
    RollBackRequest,
)

log = logging.getLogger(__name__)


def activate(request: ActivateRequest, context: Context) -> InstalledRelease:
    """Make an installed, newer release active."""
    store = Store(context.config.state_dir)
    with store.writer(timeout_s=WRITER_TIMEOUT_S) as writer:
        activation = writer.activate_installed(request.model, release=request.release)
    context.observe(Progress("active", f"{activation.model} release {activation.release}"))
    return released(activation)


def roll_back(request: RollBackRequest, context: Context) -> InstalledRelease:
    """Make the release before the active one active again."""
    store = Store(context.config.state_dir)
    with store.writer(timeout_s=WRITER_TIMEOUT_S) as writer:
        activation = writer.roll_back(request.model, from_release=request.from_release)
    log.warning("model %s rolled back to release %d, asked for over MQTT", activation.model, activation.release)
    context.observe(Progress("active", f"{activation.model} release {activation.release}"))
    return released(activation)


def remove(request: RemoveRequest, context: Context) -> Removed:
    """Remove a model and its packages."""
    store = Store(context.config.state_dir)
    with store.writer(timeout_s=WRITER_TIMEOUT_S) as writer:
        digests = [known.digest for known in store.record(request.model).releases]
        freed_bytes = sum(_size_bytes(store.package_folder(digest)) for digest in digests)
        activation = writer.remove(request.model)
        writer.collect()
    log.warning("model %s removed, asked for over MQTT", activation.model)
    context.observe(Progress("removed", f"{activation.model} release {activation.release}"))
    return Removed(model=activation.model, release=activation.release, freed_bytes=freed_bytes)


def list_installed(_: ListRequest, context: Context) -> InstalledModels:
    """Return everything that is installed."""
    store = Store(context.config.state_dir)
    models = []
    for name in store.models():
        record = store.record(name)
        active, previous, staged = (
            released(known) if known else None for known in (record.active, record.previous, record.staged)
        )
        models.append(
            InstalledModel(
                model=name,
                highest_release=record.highest_release,
                active=active,
                previous=previous,
                staged=staged,
                changes=record.changes,
            )
        )
    return InstalledModels(models=tuple(models), free_bytes=store.free_bytes())


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
