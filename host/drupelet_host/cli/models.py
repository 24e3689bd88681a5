"""`drupelet list`, `activate`, `rollback` and `remove`: the models that devices have installed."""

from __future__ import annotations

import click

from drupelet_host.cli.control_options import Control, ControlCommand, control_options, give_orders
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


@click.command("list", cls=ControlCommand)
@control_options
def list_models(*, control: Control) -> None:
    """Show which releases of which models devices have installed.

    Example: drupelet list --all --broker mqtt://broker.local
    """
    give_orders(
        control,
        lambda client, device: client.command(device, "list", ListRequest(), InstalledModels),
        show=_show_models,
    )


@click.command(cls=ControlCommand)
@click.argument("model")
@control_options
@click.option("--release", type=click.IntRange(min=1), help="Which release; the newest that is installed by default.")
def activate(*, model: str, control: Control, release: int | None) -> None:
    """Run a release of MODEL that is installed and newer than the active one: a staged one, or after a rollback.

    Example: drupelet activate digits --device pi-7
    """
    request = ActivateRequest(model=model, release=release)
    give_orders(
        control,
        lambda client, device: client.command(device, "activate", request, InstalledRelease),
        show=lambda device, active: click.echo(f"{_describe(active)} is active on {device}"),
    )


@click.command(cls=ControlCommand)
@click.argument("model")
@control_options
@click.option("--from-release", type=click.IntRange(min=1), help="Only if this release is active.")
def rollback(*, model: str, control: Control, from_release: int | None) -> None:
    """Run the release of MODEL before the active one again.

    Example: drupelet rollback digits --device pi-7
    """
    request = RollBackRequest(model=model, from_release=from_release)
    give_orders(
        control,
        lambda client, device: client.command(device, "rollback", request, InstalledRelease),
        show=lambda device, active: click.echo(f"{_describe(active)} is active again on {device}"),
    )


@click.command(cls=ControlCommand)
@click.argument("model")
@control_options
def remove(*, model: str, control: Control) -> None:
    """Serve MODEL no longer and free its packages; older releases stay refused when it comes back.

    Example: drupelet remove digits --device pi-7
    """
    give_orders(
        control,
        lambda client, device: client.command(device, "remove", RemoveRequest(model=model), Removed),
        show=lambda device, removed: click.echo(
            f"{removed.model} is gone from {device}, {format_bytes(removed.freed_bytes)} are free again"
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
        return [f"{model.model}: removed; nothing older than release {model.highest_release} is taken"]
    named = {"active": model.active, "before": model.previous, "staged": model.staged}
    return [
        f"{_describe(release)} {name}: {release.variant}, p99 {release.plan.p99_ms:.2f} ms, "
        f"{f'signed by {release.signed_by[:12]}' if release.signed_by else 'signature not checked'}"
        for name, release in named.items()
        if release is not None
    ]
