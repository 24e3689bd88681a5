"""`drupelet list`, `activate`, `rollback` and `remove`: the models that devices have installed."""

from __future__ import annotations

import click

from drupelet_host.cli.control_options import (
    ControlCommand,
    ControlOptions,
    ReadingCommand,
    control_options,
    run_on_devices,
)
from drupelet_host.cli.names import ModelName
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
from drupelet_shared.units import format_bytes


@click.command("list", cls=ReadingCommand)
@control_options
def list_models(*, control: ControlOptions) -> None:
    """List the models and releases that devices have installed.

    Example: drupelet list --broker mqtt://broker.local
    """
    run_on_devices(
        control,
        lambda client, device: client.command(device, "list", ListRequest(), InstalledModels),
        show=_show_models,
    )


@click.command(cls=ControlCommand)
@click.argument("model", type=ModelName())
@control_options
@click.option(
    "--release",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    help="Release to activate; the newest installed one by default.",
)
def activate(*, model: str, control: ControlOptions, release: int | None) -> None:
    """Activate an installed release of MODEL that is newer than the active one.

    Use it for a release that was pushed with --stage, and to return to a release after a rollback.

    Example: drupelet activate digits --device pi-7
    """
    request = ActivateRequest(model=model, release=release)
    run_on_devices(
        control,
        lambda client, device: client.command(device, "activate", request, InstalledRelease),
        show=lambda device, active: click.echo(f"{_describe(active)} is active on {device}"),
    )


@click.command(cls=ControlCommand)
@click.argument("model", type=ModelName())
@control_options
@click.option(
    "--from-release", metavar="NUMBER", type=click.IntRange(min=1), help="Roll back only if this release is active."
)
def rollback(*, model: str, control: ControlOptions, from_release: int | None) -> None:
    """Roll MODEL back to the release before the active one.

    Example: drupelet rollback digits --device pi-7
    """
    request = RollBackRequest(model=model, from_release=from_release)
    run_on_devices(
        control,
        lambda client, device: client.command(device, "rollback", request, InstalledRelease),
        show=lambda device, active: click.echo(f"{_describe(active)} is active again on {device}"),
    )


@click.command(cls=ControlCommand)
@click.argument("model", type=ModelName())
@control_options
def remove(*, model: str, control: ControlOptions) -> None:
    """Stop serving MODEL and delete its packages.

    The device remembers the newest release and keeps refusing older ones.

    Example: drupelet remove digits --device pi-7
    """
    run_on_devices(
        control,
        lambda client, device: client.command(device, "remove", RemoveRequest(model=model), Removed),
        show=lambda device, removed: click.echo(
            f"{removed.model} is removed from {device}, {format_bytes(removed.freed_bytes)} freed"
        ),
    )


def _describe(release: InstalledRelease) -> str:
    return f"{release.model} {release.version} release {release.release}"


def _show_models(device: str, installed: InstalledModels) -> None:
    click.echo(f"{device}: {format_bytes(installed.free_bytes)} free")
    for model in installed.models:
        for line in _lines(model):
            click.echo(f"  {line}")


def _lines(model: InstalledModel) -> list[str]:
    if model.active is None and model.staged is None:
        return [f"{model.model}: removed; releases older than {model.highest_release} are refused"]
    releases = {"active": model.active, "previous": model.previous, "staged": model.staged}
    return [
        f"{_describe(release)} {role}: {release.variant}, p99 {release.plan.p99_ms:.2f} ms, "
        f"{f'signed by {release.signed_by[:12]}' if release.signed_by else 'signature not checked'}"
        for role, release in releases.items()
        if release is not None
    ]
