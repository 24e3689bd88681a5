"""`drupelet init`: look at a model and write its first recipe."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from rich.table import Table

from drupelet_host.cli.command_group import GroupedCommand
from drupelet_host.cli.output import console, print_json
from drupelet_shared.units import format_bytes

if TYPE_CHECKING:
    from drupelet_host.project.inspection import InspectedModel
    from drupelet_host.recipe.model import ModelSection
    from drupelet_shared.tensors import TensorSpec


@click.command(cls=GroupedCommand)
@click.argument("model")
@click.option(
    "--name", metavar="NAME", help="What devices and clients call the model; the file's or factory's name by default."
)
@click.option(
    "--input-shape",
    "input_shapes",
    metavar="SHAPE",
    multiple=True,
    help="Shape of a factory's input, batch first: 1,3,224,224. One for each of several inputs, as NAME=SHAPE or "
    "NAME=SHAPE:DATATYPE: tokens=1,12:INT64.",
)
@click.option("--weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A factory's state_dict.")
@click.option("--labels", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="One label on each line.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default=True,
    help="Folder for recipe.toml and data.py.",
)
@click.option("--force", is_flag=True, help="Replace a recipe.toml and data.py that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print what the model is and what was written as JSON.")
def init(
    model: str,
    *,
    name: str | None,
    input_shapes: tuple[str, ...],
    weights: Path | None,
    labels: Path | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Look at MODEL, and write a commented recipe and a data file for it.

    MODEL is a file (.onnx, .pt2, .tflite) or a factory that returns a PyTorch module ("model.py:build"), which needs
    --input-shape; it is asked for on a terminal. The recipe compiles at once: data.py draws random numbers until you
    put your own samples in their place.

    Example: drupelet init network.onnx --output my-model

    Example: drupelet init model.py:build --weights weights.pt --input-shape 1,3,224,224

    Example: drupelet init model.py:build --input-shape image=1,3,64,64 --input-shape place=1,1:INT64
    """
    from drupelet_host.recipe.model import MODEL_SUFFIXES, parse_model_section  # noqa: PLC0415 - as the compiler below

    inputs: dict[str, object] = {}
    if Path(model).suffix not in MODEL_SUFFIXES:
        if ":" not in model:
            expected = "expected a file (.onnx, .pt2, .tflite) or a factory (model.py:build)"
            raise click.UsageError(f"MODEL {model!r}: {expected}")
        inputs = _describe_inputs(input_shapes or (_ask_shape(),))
    elif input_shapes or weights:
        raise click.UsageError(
            "--input-shape and --weights are for a factory: a file states its inputs and has weights"
        )
    # Training frameworks take seconds to import.
    from drupelet_host.project.draft import Draft, write_project  # noqa: PLC0415
    from drupelet_host.project.inspection import inspect_model  # noqa: PLC0415

    chosen = name or _suggest_name(model)
    source = {"factory": model, **inputs} if inputs else {"file": model}
    section = parse_model_section(
        {"name": chosen, "version": "1.0.0", "release": 1, **source, **({"weights": str(weights)} if weights else {})},
        folder=Path(),
    )
    inspected = inspect_model(section)
    draft = Draft(
        name=chosen,
        source=_relative(model, output),
        weights=None if weights is None else _relative(str(weights), output),
        is_factory=bool(inputs),
        labels=None if labels is None else _relative(str(labels), output),
    )
    recipe, data = write_project(output, draft, inspected, overwrite=force)
    if as_json:
        print_json(_as_json(inspected, section, recipe=recipe, data=data))
        return
    _print_model(inspected, section.file)
    console.print(f"wrote {recipe} and {data}", markup=False, soft_wrap=True)
    console.print(f"next: put your samples into {data}, then", markup=False, soft_wrap=True)
    console.print(f"  drupelet check {recipe}\n  drupelet compile {recipe}", markup=False, soft_wrap=True)


def _as_json(model: InspectedModel, section: ModelSection, *, recipe: Path, data: Path) -> dict[str, Any]:
    return {
        "name": section.name,
        "inputs": [_spec_as_json(spec) for spec in model.inputs],
        "outputs": [_spec_as_json(spec) for spec in model.outputs],
        "parameters": model.parameters,
        "macs": model.macs,
        "size_bytes": None if section.file is None else section.file.stat().st_size,
        "task": model.task,
        "image": None if model.image is None else {"color": model.image.color, "layout": model.image.layout},
        "is_pruned": section.file is None,
        "recipe": str(recipe),
        "data": str(data),
    }


def _spec_as_json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _print_model(model: InspectedModel, file: Path | None) -> None:
    table = Table(show_header=False)
    for what, specs in (("input", model.inputs), ("output", model.outputs)):
        for spec in specs:
            table.add_row(what, f"{spec.name}: {spec.datatype} {list(spec.shape)}")
    table.add_row("weights", f"{model.parameters:,}")
    if model.macs is not None:
        table.add_row("work", f"{model.macs / 1e6:,.1f} million multiply-accumulates")
    if file is not None:
        table.add_row("size", format_bytes(file.stat().st_size))
    table.add_row("task", model.task)
    if model.image is not None:
        table.add_row("image", f"{model.image.color}, {model.image.layout}")
    table.add_row("pruning", "a PyTorch module is pruned" if file is None else "a file is quantized, and not pruned")
    console.print(table)


def _ask_shape() -> str:
    if not os.isatty(0):
        raise click.UsageError(
            "a factory needs --input-shape, batch first: --input-shape 1,3,224,224, or for each of several inputs "
            "--input-shape image=1,3,224,224 --input-shape tokens=1,12:INT64"
        )
    answer: str = click.prompt("shape of the input, batch first", default="1,3,224,224", err=True)
    return answer


def _describe_inputs(texts: tuple[str, ...]) -> dict[str, object]:
    """Return the keys of [model] that state the inputs: `input_shape`, or `inputs` where they have names."""
    if len(texts) == 1 and "=" not in texts[0] and ":" not in texts[0]:
        return {"input_shape": _parse_shape(texts[0], option=texts[0])}
    return {"inputs": [_parse_input(text) for text in texts]}


def _parse_input(text: str) -> dict[str, object]:
    name, equals, rest = text.partition("=")
    if not (equals and name.strip()):
        raise click.UsageError(
            f"--input-shape {text!r}: expected a name before the shape of each input: image=1,3,224,224 or "
            "tokens=1,12:INT64"
        )
    shape, colon, datatype = rest.partition(":")
    from drupelet_host.recipe.model import InputDatatype  # noqa: PLC0415 - as above

    if colon and datatype.strip().upper() not in get_args(InputDatatype):
        raise click.UsageError(
            f"--input-shape {text!r}: {datatype!r} is no datatype: expected one of {', '.join(get_args(InputDatatype))}"
        )
    stated = {"datatype": datatype.strip().upper()} if colon else {}
    return {"name": name.strip(), "shape": _parse_shape(shape, option=text), **stated}


def _parse_shape(text: str, *, option: str) -> tuple[int, ...]:
    parts = [part.strip() for part in re.split(r"[,x]", text.strip().removeprefix("[").removesuffix("]"))]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.UsageError(f"--input-shape {option!r}: expected whole numbers, batch first: 1,3,224,224")
    return tuple(int(part) for part in parts)


def _suggest_name(model: str) -> str:
    file = model.rpartition(":")[0] or model
    stem = Path(file).stem
    if stem in {"model", "models", "network", "net"}:
        stem = Path(file).resolve().parent.name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "model"


def _relative(source: str, folder: Path) -> str:
    """Return a path as seen from the recipe's folder; a factory of an importable module stays as it is."""
    file, separator, attribute = source.rpartition(":") if ".py:" in source else (source, "", "")
    if ":" in source and not separator:
        return source
    relative = os.path.relpath(Path(file).resolve(), folder.resolve())
    return f"{relative}{separator}{attribute}"
