"""What commands that give orders to devices have in common: their options, and the work on several at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import BaseModel

from drupelet_host.cli import EXIT_FAILED
from drupelet_host.cli.broker_options import broker_address, broker_options
from drupelet_host.cli.output import print_error, print_json
from drupelet_shared.contract.topics import DEFAULT_PREFIX
from drupelet_shared.errors import DrupeletError

if TYPE_CHECKING:
    from drupelet_host.client.connection.address import BrokerAddress
    from drupelet_host.client.control.control import ControlClient

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result", bound=BaseModel)

# What a broker and a workstation do side by side without either noticing.
_AT_ONCE = 8
_BROKER_KEYS = ("password_file", "ca_file", "cert_file", "key_file")


@dataclass(frozen=True, slots=True)
class Control:
    """What the common options say: the broker, the devices (none named means every one), and how to print."""

    address: BrokerAddress
    prefix: str
    devices: tuple[str, ...]
    as_json: bool
    timeout_s: float


class ControlCommand(click.Command):
    """A command with `control_options`: its function is handed one `control: Control` in their place."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - the signature is click's
        """Put what the options say together, and run the function."""
        given = ctx.params
        everyone, devices = given.pop("everyone"), given.pop("device")
        if everyone and ctx.get_parameter_source("device") is not ParameterSource.COMMANDLINE:
            # The environment's or the settings file's, for want of anything said.
            devices = ()
        if bool(devices) == everyone:
            raise click.UsageError("say which devices: --device NAME, once or several times, or --all")
        files = {key: given.pop(key) for key in _BROKER_KEYS}
        control = Control(
            address=broker_address(given.pop("broker"), **files),
            prefix=given.pop("prefix"),
            devices=devices,
            as_json=given.pop("as_json"),
            timeout_s=given.pop("timeout"),
        )
        given["control"] = control
        return super().invoke(ctx)


def control_options(command: Command) -> Command:
    """Add the options that say which devices, where the broker is, and how to print; for a `ControlCommand`."""
    options = (
        click.option("--device", multiple=True, envvar="DRUPELET_DEVICE", help="A device; may be given several times."),
        click.option(
            "--all",
            "everyone",
            is_flag=True,
            help="Every device that is online; with deploy and status also those that are not.",
        ),
        click.option("--prefix", default=DEFAULT_PREFIX, show_default=True, help="First levels of the topics."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document: a list with each device."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0.1),
            default=10.0,
            show_default=True,
            help="Seconds to wait for the broker, and for a device to be there.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return broker_options(command)


def give_orders(
    control: Control,
    work: Callable[[ControlClient, str], Result],
    *,
    show: Callable[[str, Result], None],
    with_offline: bool = False,
) -> dict[str, Result]:
    """Do the same on every device, several at a time, and show each result; ends with 1 if one device failed.

    Args:
        control: Which devices, and how to print.
        work: The order to one device.
        show: Prints a result for people.
        with_offline: Whether "every device" means those that are offline too.

    Returns:
        Each device's result.
    """
    # Imported here because it imports numpy, which `drupelet --help` does without.
    from drupelet_host.client.control.control import ControlClient  # noqa: PLC0415

    with ControlClient(broker=control.address, prefix=control.prefix, connect_timeout_s=control.timeout_s) as client:
        devices = control.devices or _every_device(control, with_offline=with_offline)

        def attempt(device: str) -> Result | DrupeletError:
            try:
                return work(client, device)
            except DrupeletError as error:
                return error

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                outcomes = dict(zip(devices, pool.map(attempt, devices), strict=True))
            except BaseException:
                # Interrupted: the threads would wait for their devices.
                client.cancel()
                raise
    if control.as_json:
        print_json([_to_json(device, outcome) for device, outcome in outcomes.items()])
    else:
        for device, outcome in outcomes.items():
            print_error(outcome) if isinstance(outcome, DrupeletError) else show(device, outcome)
    if any(isinstance(outcome, DrupeletError) for outcome in outcomes.values()):
        sys.exit(EXIT_FAILED)
    return {device: outcome for device, outcome in outcomes.items() if not isinstance(outcome, DrupeletError)}


def _every_device(control: Control, *, with_offline: bool) -> Sequence[str]:
    from drupelet_host.fleet.discovery import find_devices  # noqa: PLC0415 - as above

    return find_devices(
        control.address, prefix=control.prefix, connect_timeout_s=control.timeout_s, with_offline=with_offline
    )


def _to_json(device: str, outcome: BaseModel | DrupeletError) -> dict[str, Any]:
    if isinstance(outcome, DrupeletError):
        code = getattr(outcome, "device_code", None) or outcome.code
        return {"device": device, "ok": False, "error": str(outcome), "code": code}
    return {"device": device, "ok": True, "result": outcome.model_dump(mode="json", exclude_none=True)}
