"""`drupelet estimate`: what a model would take on a target, by a model of the target's processor."""

from __future__ import annotations

import re
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from drupelet_host.cli.command_group import GroupedCommand
from drupelet_host.cli.output import console, print_json
from drupelet_host.cli.paragraphs import print_paragraph
from drupelet_host.cli.paths import InputPath
from drupelet_host.fleet.printable import printable
from drupelet_host.latency.modelled.estimate import Estimate
from drupelet_host.latency.modelled.layers import ENGINES, EngineName

_SHORT_NAMES: dict[str, str] = {"onnxruntime": "ort"}
_HUNDRED, _SMALL = 100, 0.01
_LONGEST = 100_000
# Below this the range covers what extrapolated layers may be off.
_LEAST_SHARE = 0.05


@click.command(cls=GroupedCommand)
@click.argument("model", type=InputPath())
@click.option(
    "--target",
    metavar="DEVICE",
    default="raspberry_pi_4",
    show_default=True,
    help="Kind of device; it needs a latency table.",
)
@click.option(
    "--engine", "engines", multiple=True, type=click.Choice(ENGINES), help="May be given several times; all by default."
)
@click.option(
    "--top", metavar="COUNT", type=click.IntRange(min=0), default=20, show_default=True, help="Layers to list."
)
@click.option(
    "--input-shape",
    "input_shapes",
    metavar="NAME=SHAPE",
    multiple=True,
    help="Shape of an input whose sizes MODEL leaves open: image=1,3,224,224; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with every layer.")
@click.option(
    "--exact",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="EMULATOR",
    help="Run MODEL under the timing model in this folder of deploy/emulator/prepare; takes seconds to minutes.",
)
def estimate(
    *,
    model: Path,
    target: str,
    engines: tuple[EngineName, ...],
    top: int,
    input_shapes: tuple[str, ...],
    as_json: bool,
    exact: Path | None,
) -> None:
    """Estimate the latency of MODEL on a target, layer by layer, in each engine and precision.

    MODEL is an ONNX file, a torch.export program (.pt2), a LiteRT file or a package. Nothing is measured: the times
    come from a model of the target's processor, and are printed with the range in which the real one is expected. With
    --exact the file itself is run in a timing model of the processor instead of looking its layers up in a table.

    Example: drupelet estimate resnet18.onnx --engine litert
    """
    from drupelet_host.estimation.model_files import estimate_file  # noqa: PLC0415 - takes onnx, which loads slowly

    estimates = estimate_file(
        model,
        target=target,
        engines=tuple(dict.fromkeys(engines)) or ENGINES,
        emulator=exact,
        input_shapes=dict(map(_parse_shape, input_shapes)),
    )
    if as_json:
        print_json({"model": model.name, "target": target, "estimates": [one.to_json() for one in estimates]})
        return
    heading = f"{model.name}, modelled for {target}, one thread, not measured"
    print_paragraph(printable(heading), to=console)
    console.print(_summary(estimates))
    if warning := _describe_extrapolation(estimates):
        print_paragraph(warning, to=console)
    if top and estimates[0].layers:
        console.print(_layers(estimates, top=top))


def _parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, shape = text.partition("=")
    sizes = [size.strip() for size in re.split(r"[,x]", shape)]
    if not name.strip() or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise click.UsageError(f"--input-shape {text!r}: expected a name and whole numbers: image=1,3,224,224")
    return name.strip(), tuple(map(int, sizes))


def _describe_extrapolation(estimates: list[Estimate]) -> str:
    """Say how much of the time is of layers unlike those that the table was made from; nothing where it is little."""
    worst = max(estimates, key=lambda one: one.extrapolated_share)
    if worst.extrapolated_share < _LEAST_SHARE:
        return ""
    return (
        f"Up to {worst.extrapolated_share:.0%} of the time ({worst.engine}, {worst.precision}) is of layers unlike "
        "those that the latency table was made from: it may be off by more than the range; --exact runs the file."
    )


def _summary(estimates: list[Estimate]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("engine", "precision", "ms", "range", "4 threads", "validated"):
        table.add_column(heading, no_wrap=True)
    for one in estimates:
        low, high = one.threads_4_ms
        table.add_row(
            one.engine,
            one.precision,
            _digits(one.ms),
            f"{_digits(one.low_ms)} to {_digits(one.high_ms)}",
            f"{_digits(low)} to {_digits(high)}",
            "yes" if one.validated else "no",
        )
    return table


def _layers(estimates: list[Estimate], *, top: int) -> Table:
    """One row a layer and one column an engine and precision, the most expensive layers first; fits 80 columns."""
    columns = [one for one in estimates if len(one.layers) == len(estimates[0].layers)]
    order = sorted(range(len(columns[0].layers)), key=lambda row: -sum(one.layers[row].ms for one in columns))
    title = f"layers, ms, modelled; {min(top, len(order))} of {len(order)}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    for one in columns:
        table.add_column(f"{_SHORT_NAMES.get(one.engine, one.engine)}\n{one.precision}", justify="right", no_wrap=True)
    for row in order[:top]:
        shape = columns[0].layers[row].shape
        about = f"{shape.category} {shape.in_channels}>{shape.out_channels} {printable(shape.name)}"
        table.add_row(Text(about), *(_digits(one.layers[row].ms) for one in columns))
    return table


def _digits(ms: float) -> str:
    """At most three digits, which is more than the error of an estimate allows; no number is wider than its column."""
    if ms >= _LONGEST:
        return f"{ms:.0e}"
    if ms >= _HUNDRED:
        return f"{ms:.0f}"
    return f"{ms:.3g}" if ms >= _SMALL else f"{ms:.4f}".rstrip("0").rstrip(".")
