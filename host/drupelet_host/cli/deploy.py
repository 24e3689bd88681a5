"""`drupelet deploy` and `drupelet status`: the desired state of devices and their actual state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from drupelet_host.cli.control_options import (
    ControlCommand,
    ControlOptions,
    ReadingCommand,
    control_options,
    print_outcomes,
    run_on_devices,
)
from drupelet_host.cli.names import ModelName
from drupelet_host.cli.numbers import seconds
from drupelet_host.cli.output import explain_interruption
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.labels import has_labels

if TYPE_CHECKING:
    from drupelet_host.client.control.control import ControlClient
    from drupelet_host.client.control.watching import DeviceReport


_KEPT = (
    "the desired state that was set stays on the broker, and devices go on fetching the package. `drupelet status` "
    "shows how far they are; --clear deletes the desired state."
)


@click.command(cls=ControlCommand)
@click.argument("model", type=ModelName())
@control_options
@click.option("--version", metavar="VERSION", help="Version that devices are to run.")
@click.option(
    "--digest", metavar="DIGEST", help="Package digest that devices are to run, as `drupelet inspect` shows it."
)
@click.option("--source", metavar="URL", help="https://..., file:///... on the device, or upload:<SHA-256>.")
@click.option("--clear", is_flag=True, help="Delete the desired state of MODEL; devices keep running what they run.")
@click.option(
    "--wait",
    "wait_s",
    type=seconds(),
    metavar="SECONDS",
    help="Wait until the package runs or fails, for this long at most.",
)
def deploy(
    *,
    model: str,
    control: ControlOptions,
    version: str | None,
    digest: str | None,
    source: str | None,
    clear: bool,
    wait_s: float | None,
) -> None:
    """Set the desired package of MODEL; each device fetches and activates it by itself, also one that is offline now.

    The desired state stays on the broker. A device that fails tries again at growing intervals. With --wait, the exit
    code is 1 if a device fails or does not run the package in time.

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
            click.echo(f"{model} on {device}: no desired state any more")
        else:
            click.echo(f"{model} {version or digest} on {device}: {_describe(delivery)}")

    with explain_interruption(lambda: _KEPT):
        run_on_devices(control, work, show=show, include_offline=True)


@click.command(cls=ReadingCommand)
@control_options
def status(*, control: ControlOptions) -> None:
    """Show whether devices are online, what they run, and how far they are with their desired states.

    A device that has never announced itself is an error, with the most similar name on the broker.

    Example: drupelet status --broker mqtt://broker.local

    Example: drupelet status --device pi-7 --json
    """
    from drupelet_host.client.control.deployment import read_report  # noqa: PLC0415 - imports numpy

    if not control.devices:
        print_outcomes(control, _read_all(control), show=_show_report)
        return

    def work(_: ControlClient, device: str) -> DeviceReport:
        return read_report(device, broker=control.address, prefix=control.prefix, connect_timeout_s=control.timeout_s)

    run_on_devices(control, work, show=_show_report, include_offline=True)


def _read_all(control: ControlOptions) -> dict[str, DeviceReport]:
    from drupelet_host.client.control.reports import read_reports  # noqa: PLC0415 - as above
    from drupelet_host.errors import DeviceOfflineError  # noqa: PLC0415 - as above

    reports = read_reports(broker=control.address, prefix=control.prefix, connect_timeout_s=control.timeout_s)
    chosen = {
        name: report
        for name, report in reports.items()
        if report.status is not None and has_labels(report.status.labels, control.labels)
    }
    if not chosen:
        which = f" with the labels {', '.join(map(str, control.labels))}" if control.labels else ""
        raise DeviceOfflineError(
            f"broker {control.address}: no device under {control.prefix!r}{which} has announced itself"
        )
    return chosen


def _read_desired(*, version: str | None, digest: str | None, source: str | None, clear: bool) -> DesiredState | None:
    if clear:
        if version or digest or source:
            raise click.UsageError("--clear excludes --version, --digest and --source")
        return None
    if source is None:
        raise click.UsageError("name the package's source: --source URL")
    try:
        return DesiredState(version=version, digest=digest, source=source)
    except ValidationError as error:
        if any(fault["loc"] == ("source",) and fault["type"] == "string_pattern_mismatch" for fault in error.errors()):
            # The pattern itself tells people little.
            expected = "https://HOST/PATH, file:///PATH on the device, or upload:SHA-256 of a package that was pushed"
            raise click.UsageError(f"--source {source}: expected {expected}") from error
        raise click.UsageError(f"desired state: {describe_faults(error)}") from error


def _show_report(device: str, report: DeviceReport) -> None:
    announced = report.status
    click.echo(f"{device}: {f'{announced.state}, agent {announced.agent_version}' if announced else 'no status'}")
    if announced is not None and announced.labels:
        click.echo(f"  labels {' '.join(f'{name}={value}' for name, value in sorted(announced.labels.items()))}")
    if announced is not None and announced.store not in {None, "ok"}:
        click.echo(f"  store {announced.store.replace('_', ' ')}: {announced.store_error}")
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
