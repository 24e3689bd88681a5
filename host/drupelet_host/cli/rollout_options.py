"""The options of `drupelet rollout`, in groups, and what they ask for."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from drupelet_host.cli.command_group import GroupedOption
from drupelet_host.cli.control_options import read_labels
from drupelet_host.cli.folders import rollout_folder
from drupelet_host.cli.numbers import FiniteRange, seconds
from drupelet_shared.contract.delivery import DesiredPackage
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.errors import InvalidValueError, SourceError

if TYPE_CHECKING:
    from drupelet_host.rollout.state import RolloutSpec

Command = TypeVar("Command", bound=Callable[..., Any])

_package = partial(click.option, cls=GroupedOption, group="Package options")
_device = partial(click.option, cls=GroupedOption, group="Device options")
_wave = partial(click.option, cls=GroupedOption, group="Wave options")
_record = partial(click.option, cls=GroupedOption, group="Record options")
_file = click.Path(path_type=Path, dir_okay=False)
_folder = click.Path(path_type=Path, file_okay=False)
_OPTIONS = (
    _package("--version", metavar="VERSION", help="Version that devices get."),
    _package("--digest", metavar="SHA256", help="Package digest that they get, as `drupelet inspect` shows it."),
    _package("--source", metavar="URL", help="https://..., or file:///... on the devices."),
    _device(
        "--label", multiple=True, metavar="NAME=VALUE", help="Only devices with this label; repeatable, all count."
    ),
    _device(
        "--name", "names", multiple=True, metavar="PATTERN", help="Only devices named so, such as 'cam-*'; repeatable."
    ),
    _device(
        "--percent",
        type=FiniteRange(min=0, max=100, min_open=True),
        metavar="PERCENT",
        default=100.0,
        show_default=True,
        help="Only this share of those devices.",
    ),
    _device(
        "--offline",
        type=click.Choice(["later", "skip"]),
        default="later",
        show_default=True,
        help="Devices that are offline to the end get the version when they return, or not at all.",
    ),
    _wave(
        "--waves",
        default="1,10%,50%,100%",
        show_default=True,
        metavar="SIZES",
        help="Devices that have the version at the end of each wave, as numbers or percentages.",
    ),
    _wave(
        "--gate",
        default="",
        metavar="CONDITIONS",
        help="What a wave must keep, such as 'errors<1%, p99<1.2x, failed<2%': 1.2x compares with the device's own "
        "telemetry before. Without `failed` no device may fail.",
    ),
    _wave(
        "--healthy-for",
        "healthy_for_s",
        type=seconds(),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Time for which a device must run the version and be healthy by its own telemetry.",
    ),
    _wave(
        "--active-within",
        "timeout_s",
        type=seconds(min_open=True),
        default=900.0,
        show_default=True,
        metavar="SECONDS",
        help="Time that a device has to fetch, verify, measure and activate the package.",
    ),
    _wave(
        "--baseline",
        "baseline_s",
        type=seconds(),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Longest time to collect telemetry first, if the gate compares with it.",
    ),
    _wave(
        "--parallel",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        default=500,
        show_default=True,
        help="Devices that fetch and install at the same time.",
    ),
    _wave(
        "--idle",
        type=click.Choice(["hold", "pass"]),
        default="hold",
        show_default=True,
        help="Whether a wave without requests to judge errors and latency by holds the roll-out or passes.",
    ),
    _record("--key", type=_file, help="Private key that signs the record of the roll-out."),
    _record(
        "--trust",
        type=_folder,
        help="With --history, or --resume from the broker: folder of trusted public keys, *.pub, that verify records.",
    ),
    _record("--state", type=_folder, help="Folder of the files from which roll-outs are resumed."),
)


def rollout_options(command: Command) -> Command:
    """Add the options that say which package goes where, in which waves, and how it is recorded."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """The values of the options.

    Attributes:
        version: The value of --version.
        digest: The value of --digest.
        source: The value of --source.
        label: The values of --label.
        names: The values of --name.
        percent: The value of --percent.
        offline: The value of --offline.
        waves: The value of --waves.
        gate: The value of --gate.
        healthy_for_s: The value of --healthy-for.
        timeout_s: The value of --active-within.
        baseline_s: The value of --baseline.
        parallel: The value of --parallel.
        idle: The value of --idle.
        key: The value of --key.
        trust: The value of --trust.
        state: The value of --state.
    """

    version: str | None
    digest: str | None
    source: str | None
    label: tuple[str, ...]
    names: tuple[str, ...]
    percent: float
    offline: str
    waves: str
    gate: str
    healthy_for_s: float
    timeout_s: float
    baseline_s: float
    parallel: int
    idle: str
    key: Path | None
    trust: Path | None
    state: Path | None

    @property
    def folder(self) -> Path:
        """The folder of state files."""
        return self.state or rollout_folder()


def make_spec(model: str, options: RolloutOptions) -> RolloutSpec:
    """Return what the options ask for.

    Raises:
        click.UsageError: An option is missing or malformed.
    """
    from drupelet_host.rollout.gate import parse_gate  # noqa: PLC0415 - `drupelet --help` does without pydantic models
    from drupelet_host.rollout.plan import parse_waves  # noqa: PLC0415 - as above
    from drupelet_host.rollout.selection import Selection  # noqa: PLC0415 - as above
    from drupelet_host.rollout.state import RolloutSpec  # noqa: PLC0415 - as above

    if options.source is None or not (options.version or options.digest):
        raise click.UsageError("name the package: --version or --digest, and --source URL")
    try:
        parse_waves(options.waves)
        parse_gate(options.gate)
        labels = tuple(str(label) for label in read_labels(options.label))
        return RolloutSpec.model_validate(
            {
                "model": model,
                "target": DesiredPackage(version=options.version, digest=options.digest, source=options.source),
                "selection": Selection(labels=labels, names=options.names, share=options.percent / 100),
                **{
                    key: getattr(options, key)
                    for key in (
                        "waves",
                        "gate",
                        "healthy_for_s",
                        "timeout_s",
                        "baseline_s",
                        "parallel",
                        "offline",
                        "idle",
                    )
                },
            }
        )
    except ValidationError as error:
        raise click.UsageError(f"roll-out: {describe_faults(error)}") from error
    except (InvalidValueError, SourceError) as error:
        raise click.UsageError(str(error)) from error


def current_user() -> str:
    """Return the user and the host that start a roll-out: "anna@workstation"."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
