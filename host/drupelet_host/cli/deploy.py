"""`drupelet deploy` and `drupelet status`: what devices should run, and what they do run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from drupelet_host.cli.control_options import Control, ControlCommand, control_options, give_orders
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.faults import describe_faults

if TYPE_CHECKING:
    from drupelet_host.client.control.control import ControlClient
    from drupelet_host.client.control.watching import DeviceReport


@click.command(cls=ControlCommand)
@click.argument("model")
@control_options
@click.option("--version", help="The version that is to run.")
@click.option("--digest", help="The package digest that is to run, as `drupelet inspect` shows it.")
@click.option("--source", metavar="URL", help="https://..., file:///... on the device, or upload:<SHA-256>.")
@click.option("--clear", is_flag=True, help="Desire nothing any more of MODEL; what runs keeps running.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait until it runs, or fails.")
def deploy(
    *,
    model: str,
    control: Control,
    version: str | None,
    digest: str | None,
    source: str | None,
    clear: bool,
    wait_s: float | None,
) -> None:
    """Say which package of MODEL devices are to run; each works towards it by itself, also one that is offline now.

    It stays desired on the broker: a device that fails tries again, later and later. With --wait, the exit code is 1 if
    a device fails or is not there in time.

    Example: drupelet deploy digits --version 1.2.0 --source https://models.example/digits-1.2.0.drupe --device pi-7
    """
    desired = _read_desired(version=version, digest=digest, source=source, clear=clear)

    def work(client: ControlClient, device: str) -> DeliveryState:
        # Imported here because they import numpy, which `drupelet --help` does without.
        from drupelet_host.client.control import deployment  # noqa: PLC0415
        from drupelet_host.client.control.watching import DeviceWatch  # noqa: PLC0415

        if desired is None or wait_s is None:
            deployment.set_desired(client, device, model, desired, timeout_s=control.timeout_s)
            return DeliveryState(model=model, state="waiting", version=version, digest=digest, source=source)
        with DeviceWatch(device, broker=control.address, prefix=control.prefix) as watch:
            return deployment.deploy(client, device, model, desired, watch=watch, timeout_s=wait_s)

    def show(device: str, delivery: DeliveryState) -> None:
        if desired is None:
            click.echo(f"nothing is desired of {model} on {device} any more")
        else:
            click.echo(f"{model} {version or digest} on {device}: {_describe(delivery)}")

    give_orders(control, work, show=show, with_offline=True)


@click.command(cls=ControlCommand)
@control_options
def status(*, control: Control) -> None:
    """Show whether devices are online, what they run, and how far they are with what is desired of them.

    Example: drupelet status --device pi-7 --broker mqtt://broker.local
    """

    def work(_: ControlClient, device: str) -> DeviceReport:
        from drupelet_host.client.control.deployment import read_report  # noqa: PLC0415 - imports numpy

        return read_report(device, broker=control.address, prefix=control.prefix, connect_timeout_s=control.timeout_s)

    give_orders(control, work, show=_show_report, with_offline=True)


def _read_desired(*, version: str | None, digest: str | None, source: str | None, clear: bool) -> DesiredState | None:
    if clear:
        if version or digest or source:
            raise click.UsageError("--clear goes alone")
        return None
    if source is None:
        raise click.UsageError("say where the package is: --source URL")
    try:
        return DesiredState(version=version, digest=digest, source=source)
    except ValidationError as error:
        raise click.UsageError(f"what is desired: {describe_faults(error)}") from error


def _show_report(device: str, report: DeviceReport) -> None:
    told = report.status
    click.echo(f"{device}: {f'{told.state}, agent {told.agent_version}' if told else 'never heard of'}")
    for model in report.models:
        error = f": {model.error} [{model.code}]" if model.error and model.code else ""
        click.echo(f"  {model.model} {model.version} release {model.release}: {model.health}{error}")
    for delivery in report.deliveries:
        click.echo(f"  {delivery.model} desired {delivery.version or delivery.digest}: {_describe(delivery)}")


def _describe(delivery: DeliveryState) -> str:
    words = [delivery.state.replace("_", " ")]
    if delivery.done_bytes is not None and delivery.total_bytes:
        words.append(f"{100 * delivery.done_bytes / delivery.total_bytes:.0f} %")
    if delivery.stage is not None:
        words.append(f"({delivery.stage})")
    if delivery.error is not None:
        words.append(f"{delivery.error} [{delivery.code}]")
    return " ".join(words)
