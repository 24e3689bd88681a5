"""The options of commands that control devices, and running a command on several devices at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import BaseModel

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options
from drupelet_host.cli.command_group import GroupedOption
from drupelet_host.cli.numbers import seconds
from drupelet_host.cli.output import print_error, print_json, progress_console
from drupelet_shared.errors import DrupeletError, InvalidValueError
from drupelet_shared.exit_codes import EXIT_FAILED
from drupelet_shared.labels import Label, parse_label

if TYPE_CHECKING:
    from drupelet_host.client.connection.address import BrokerAddress
    from drupelet_host.client.control.control import ControlClient

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result", bound=BaseModel)

# Few enough for a broker and a workstation to serve without delay.
_PARALLEL_DEVICES = 8
_BROKER_KEYS = ("password_file", "ca_file", "cert_file", "key_file")
_device_option = partial(click.option, cls=GroupedOption, group="Device options")


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """The values of the common options.

    Attributes:
        address: The broker's address.
        prefix: The first levels of the topics.
        devices: The names of the devices; empty stands for all that have the labels.
        labels: The labels that devices must have.
        as_json: Whether the results are printed as JSON.
        timeout_s: The limit for connecting to the broker, and for a device to be online.
    """

    address: BrokerAddress
    prefix: str
    devices: tuple[str, ...]
    labels: tuple[Label, ...]
    as_json: bool
    timeout_s: float


class ControlCommand(BrokerCommand):
    """A command with `control_options`; its function takes one `control: ControlOptions` in their place."""

    acts_on_all_by_default = False

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - the signature is click's
        """Combine the common options and run the function.

        Raises:
            click.UsageError: More than one of --device, --label and --all is given, or none to a command that changes
                something, or a label is malformed.
        """
        given = ctx.params
        is_all, devices = given.pop("all_devices"), given.pop("device")
        labels = read_labels(given.pop("label"))
        if (is_all or labels) and ctx.get_parameter_source("device") is not ParameterSource.COMMANDLINE:
            # A device of the environment or of the settings file is a default, which --all and --label override.
            devices = ()
        ways = sum(map(bool, (devices, labels, is_all)))
        if ways > 1:
            raise click.UsageError("--device, --label and --all exclude each other: give one of them")
        if ways == 0 and not self.acts_on_all_by_default:
            raise click.UsageError(
                "name the devices: --device NAME, once or several times, or --label NAME=VALUE, or --all"
            )
        files = {key: given.pop(key) for key in _BROKER_KEYS}
        control = ControlOptions(
            address=broker_address(given.pop("broker"), **files),
            prefix=given.pop("prefix"),
            devices=devices,
            labels=labels,
            as_json=given.pop("as_json"),
            timeout_s=given.pop("timeout"),
        )
        given["control"] = control
        return super().invoke(ctx)


class ReadingCommand(ControlCommand):
    """A command that changes nothing, and is therefore about all devices unless it is told otherwise."""

    acts_on_all_by_default = True


def control_options(command: Command) -> Command:
    """Add the options that name devices and the broker and choose the output; for a `ControlCommand`."""
    options = (
        _device_option(
            "--device",
            multiple=True,
            metavar="NAME",
            envvar="DRUPELET_DEVICE",
            show_envvar=True,
            help="Name of a device; may be given several times.",
        ),
        label_option(),
        _device_option(
            "--all",
            "all_devices",
            is_flag=True,
            help="All devices that are online, with deploy and status also those that are offline. Commands that only "
            "read, status and list, take all by default.",
        ),
        _device_option(
            "--timeout",
            type=seconds(minimum=0.1),
            metavar="SECONDS",
            default=10.0,
            show_default=True,
            help="Longest wait for the broker, and for a device to be online.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document: a list with each device."),
    )
    command = broker_options(command)
    for option in reversed(options):
        command = option(command)
    return command


def label_option() -> Callable[[Command], Command]:
    """Return the option that chooses devices by their labels."""
    return _device_option(
        "--label",
        multiple=True,
        metavar="NAME=VALUE",
        help="All devices with this label, as with --all; given several times, those that have all of them.",
    )


def read_labels(texts: Sequence[str]) -> tuple[Label, ...]:
    """Return the labels of `--label`.

    Raises:
        click.UsageError: A label is malformed.
    """
    try:
        return tuple(parse_label(text) for text in texts)
    except InvalidValueError as error:
        raise click.UsageError(str(error)) from error


def run_on_devices(
    control: ControlOptions,
    work: Callable[[ControlClient, str], Result],
    *,
    show: Callable[[str, Result], None],
    include_offline: bool = False,
    shows_waiting: bool = True,
) -> dict[str, Result]:
    """Do the same on each device, several at a time, and print each result; exit with 1 if one device failed.

    Args:
        control: The devices, and how to print.
        work: Does the work on one device and returns its result.
        show: Prints a device's result for people.
        include_offline: Whether "all devices" includes those that are offline.
        shows_waiting: Whether a terminal shows what is waited for; not where `work` draws its own progress.

    Returns:
        The results by device.

    Raises:
        BrokerError: The broker cannot be reached or refuses the client.
        DeviceOfflineError: All devices were asked for and there are none.
    """
    # Imported here because it imports numpy, which `drupelet --help` does without.
    from drupelet_host.client.control.control import ControlClient  # noqa: PLC0415

    with ControlClient(broker=control.address, prefix=control.prefix, connect_timeout_s=control.timeout_s) as client:
        devices = control.devices or _all_devices(control, include_offline=include_offline)
        with _show_waiting(control, devices, shows_waiting=shows_waiting):
            outcomes = _run_parallel(client, devices, work)
    return print_outcomes(control, outcomes, show=show)


def print_outcomes(
    control: ControlOptions, outcomes: Mapping[str, Result | DrupeletError], *, show: Callable[[str, Result], None]
) -> dict[str, Result]:
    """Print the outcome on each device; exit with 1 if one device failed.

    Args:
        control: How to print.
        outcomes: The result or the error by device.
        show: Prints a device's result for people.

    Returns:
        The results by device.
    """
    if control.as_json:
        print_json([_to_json(device, outcome) for device, outcome in outcomes.items()])
    else:
        for device, outcome in outcomes.items():
            print_error(outcome) if isinstance(outcome, DrupeletError) else show(device, outcome)
    if any(isinstance(outcome, DrupeletError) for outcome in outcomes.values()):
        sys.exit(EXIT_FAILED)
    return {device: outcome for device, outcome in outcomes.items() if not isinstance(outcome, DrupeletError)}


def _show_waiting(
    control: ControlOptions, devices: Sequence[str], *, shows_waiting: bool
) -> AbstractContextManager[object]:
    if control.as_json or not shows_waiting:
        return nullcontext()
    count = "1 device" if len(devices) == 1 else f"{len(devices)} devices"
    return progress_console.status(f"waiting for {count}")


def _run_parallel(
    client: ControlClient, devices: Sequence[str], work: Callable[[ControlClient, str], Result]
) -> dict[str, Result | DrupeletError]:
    def attempt(device: str) -> Result | DrupeletError:
        try:
            return work(client, device)
        except DrupeletError as error:
            return error

    with ThreadPoolExecutor(_PARALLEL_DEVICES) as pool:
        try:
            return dict(zip(devices, pool.map(attempt, devices), strict=True))
        except BaseException:
            # Interrupted: the pool would wait for threads that wait for their devices.
            client.cancel()
            raise


def _all_devices(control: ControlOptions, *, include_offline: bool) -> Sequence[str]:
    from drupelet_host.fleet.discovery import find_devices  # noqa: PLC0415 - as above

    return find_devices(
        control.address,
        prefix=control.prefix,
        connect_timeout_s=control.timeout_s,
        include_offline=include_offline,
        labels=control.labels,
    )


def _to_json(device: str, outcome: BaseModel | DrupeletError) -> dict[str, Any]:
    if isinstance(outcome, DrupeletError):
        code = getattr(outcome, "device_code", None) or outcome.code
        return {"device": device, "ok": False, "error": str(outcome), "code": code}
    return {"device": device, "ok": True, "result": outcome.model_dump(mode="json", exclude_none=True)}
