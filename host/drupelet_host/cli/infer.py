"""`drupelet infer`: send one request to a model and show the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options
from drupelet_host.cli.names import ModelName
from drupelet_host.cli.numbers import seconds
from drupelet_host.cli.paths import InputPath, OutputPath

if TYPE_CHECKING:
    from drupelet_host.client import BrokerAddress
    from drupelet_host.client.inference.base import InferenceClient
    from drupelet_shared.contract.messages import ModelState

# One delayed acknowledgement takes 40 ms; of a longer answer it is a small part.
_DELAYED_MS = (38.0, 200.0)


@click.command(cls=BrokerCommand)
@click.argument("model", type=ModelName())
@click.argument("file", type=InputPath(dir_okay=False))
@click.option("--device", metavar="NAME", envvar="DRUPELET_DEVICE", show_envvar=True, help="Name of the device.")
@click.option("--pool", metavar="NAME", help="Name of a pool; whichever of its devices is free answers.")
@broker_options
@click.option("--input", "input_name", metavar="NAME", help="Input that an .npy file is for; the only one by default.")
@click.option(
    "--top", metavar="COUNT", type=click.IntRange(min=1), help="Show only this many of the labelled classes or objects."
)
@click.option(
    "--annotate",
    type=OutputPath(),
    help="Write the image with its boxes or class map, as .png or .jpg.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the reply as JSON.")
@click.option("--output", type=OutputPath(), help="Write the tensors as .npy or .npz.")
@click.option(
    "--timeout",
    type=seconds(minimum=0.1),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="Longest wait for the broker and for the answer.",
)
def infer(
    *,
    model: str,
    file: Path,
    device: str | None,
    pool: str | None,
    broker: str,
    password_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    prefix: str,
    input_name: str | None,
    top: int | None,
    as_json: bool,
    output: Path | None,
    annotate: Path | None,
    timeout: float,
) -> None:
    """Send FILE to MODEL on a device, or on one of a pool, and show the answer.

    FILE is an image (JPEG or PNG), NumPy tensors (.npy or .npz) or an Open Inference Protocol request (.json). A device
    that is not online is an error at once.

    Example: drupelet infer resnet18 cat.jpg --device pi-1 --broker mqtt://broker.local

    Example: drupelet infer resnet18 cat.jpg --pool door

    Example: drupelet infer yolo street.jpg --device pi-1 --annotate boxes.png
    """
    _check_target(device=device, pool=pool)
    # Imported here because they import numpy, which `drupelet --help` does without.
    from drupelet_host.cli.annotation import annotate as draw_answer  # noqa: PLC0415
    from drupelet_host.cli.tensors import check_file, print_reply, print_reply_json, read_body, write_tensors  # noqa: PLC0415

    address = broker_address(
        broker, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
    )
    check_file(file)
    with _connect(device=device, pool=pool, broker=address, prefix=prefix, timeout_s=timeout) as (client, describe):
        body = read_body(file, input_name=input_name, describe=lambda: describe(model))
        start = time.perf_counter()
        reply = client.submit(model, body, timeout_s=timeout).result()
        elapsed_ms = (time.perf_counter() - start) * 1e3
    if output is not None:
        write_tensors(output, reply)
    if annotate is not None:
        draw_answer(body, reply, annotate)
    if as_json:
        print_reply_json(reply)
    else:
        print_reply(reply, top=top)
        click.echo(f"{pool or device} answered in {elapsed_ms:.1f} ms", err=True)
        _advise_on_delay(address, prefix=prefix, elapsed_ms=elapsed_ms)


def _check_target(*, device: str | None, pool: str | None) -> None:
    if pool is None and device is None:
        raise click.UsageError("name the target: --device NAME or --pool NAME; `drupelet status` lists the devices")
    # A device of the environment or of the settings file is a default, which --pool overrides.
    source = click.get_current_context().get_parameter_source("device")
    if pool is not None and source is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"--device {device} and --pool {pool} exclude each other: give one of them")


def _advise_on_delay(broker: BrokerAddress, *, prefix: str, elapsed_ms: float) -> None:
    """Print what to change if an answer may have been delayed by a broker that holds small messages back."""
    if not _DELAYED_MS[0] <= elapsed_ms <= _DELAYED_MS[1]:
        return
    from drupelet_host.client.connection.link import DELAY_ADVICE, delays_small_messages  # noqa: PLC0415 - as above

    if delays_small_messages(broker, prefix=prefix):
        click.echo(f"note: {DELAY_ADVICE}", err=True)


@contextmanager
def _connect(
    *, device: str | None, pool: str | None, broker: BrokerAddress, prefix: str, timeout_s: float
) -> Iterator[tuple[InferenceClient, Callable[[str], ModelState]]]:
    """Connect to a pool or to a device that is online; also provide a function that describes a model's inputs."""
    from drupelet_host.client import DeviceClient, PoolClient  # noqa: PLC0415 - as above
    from drupelet_host.errors import DataError  # noqa: PLC0415 - as above

    if pool is not None:

        def describe(model: str) -> ModelState:
            raise DataError(f"pool {pool!r}, model {model!r}: a pool announces no inputs; name the input with --input")

        with PoolClient(pool, broker=broker, prefix=prefix, connect_timeout_s=timeout_s) as client:
            yield client, describe
        return
    assert device is not None, "one of the two is given"
    with DeviceClient(device, broker=broker, prefix=prefix, connect_timeout_s=timeout_s) as device_client:
        device_client.check_online(timeout_s=timeout_s)
        yield device_client, device_client.model_state
